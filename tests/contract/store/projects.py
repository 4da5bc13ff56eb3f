"""What a store has to do for projects and images."""

from __future__ import annotations

import pytest

from aetherium.domain.errors import AlreadyExists, NotFound
from aetherium.domain.ids import new_id
from aetherium.domain.projects import DEFAULT_PROJECT, Project, Quota
from aetherium.interfaces.store import Store
from tests.contract.store.values import BEGIN


class ProjectsContract:
    """Projects."""

    async def test_the_default_project_is_always_there(self, store: Store) -> None:
        project = await store.projects.find(DEFAULT_PROJECT)
        assert (project.id, project.name, project.quota) == ("default", "default", Quota())
        assert await store.projects.list() == [project]

    async def test_a_project_comes_back_as_it_was(self, store: Store) -> None:
        project = Project(new_id("prj"), "web", BEGIN, Quota(1, 2, 3, 4, 5, 6))
        await store.projects.add(project)
        for ref in (project.id, "web", project.id[:19]):
            assert await store.projects.find(ref) == project
        assert [each.name for each in await store.projects.list()] == ["default", "web"]
        with pytest.raises(AlreadyExists):
            await store.projects.add(Project(new_id("prj"), "web", BEGIN))

    async def test_a_quota_is_set(self, store: Store) -> None:
        changed = await store.projects.set_quota(DEFAULT_PROJECT, Quota(tasks=5))
        assert changed.quota == Quota(tasks=5)
        assert await store.projects.find(DEFAULT_PROJECT) == changed
        with pytest.raises(NotFound):
            await store.projects.set_quota(new_id("prj"), Quota())


class ImagesContract:
    """Images."""

    async def test_a_tag_means_the_newest_image_that_got_it(self, store: Store) -> None:
        await store.images.record("sha256:1", ["base", "old"], 1 << 40)
        await store.images.record("sha256:2", ["base"], 5)
        assert await store.images.tags() == {"base": "sha256:2", "old": "sha256:1"}
        await store.images.record("sha256:2", ["base", "new"], 5)
        await store.images.forget("sha256:1")
        assert await store.images.tags() == {"base": "sha256:2", "new": "sha256:2"}
