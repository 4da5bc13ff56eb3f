"""Projects and their quotas."""

from __future__ import annotations

import pytest

from aetherium.domain.errors import AlreadyExists, InvalidInput, LimitExceeded, NotFound
from aetherium.domain.projects import Quota
from tests.unit.services.conftest import NOOP, Services


async def test_the_default_project_is_there_and_others_are_made(services: Services) -> None:
    made = await services.projects.create("red", quota=Quota(vms=3))
    assert [project.name for project in await services.projects.list()] == ["default", "red"]
    assert await services.projects.get("red") == await services.projects.get(made.id) == made
    assert await services.projects.id_of("default") == "default"
    assert await services.projects.id_of("red") == made.id
    with pytest.raises(AlreadyExists):
        await services.projects.create("red")
    with pytest.raises(NotFound):
        await services.projects.id_of("blue")


@pytest.mark.parametrize("name", ["", "Red", "-a", "a_b", "a\n", "x" * 64])
async def test_names_are_of_a_kind(services: Services, name: str) -> None:
    with pytest.raises(InvalidInput):
        await services.projects.create(name)


async def test_a_quota_counts_from_the_next_task_on(services: Services) -> None:
    project = await services.projects.create("red")
    await services.tasks.submit_many([NOOP, NOOP], project=project.id)
    async with services.bus.listen(["dispatch"]) as hints:
        assert (await services.projects.set_quota("red", Quota(waiting=2))).quota == Quota(waiting=2)
        assert await anext(aiter(hints)) == ("dispatch", "settings")
    with pytest.raises(LimitExceeded):
        await services.tasks.submit(NOOP, project=project.id)
    await services.tasks.submit(NOOP)  # another one's
    await services.projects.set_quota("red", Quota())
    await services.tasks.submit(NOOP, project=project.id)


async def test_a_quota_is_not_negative(services: Services) -> None:
    with pytest.raises(InvalidInput) as caught:
        await services.projects.set_quota("default", Quota(vms=0, memory_mib=-1))
    assert caught.value.details["field"] == "memory_mib"
    with pytest.raises(InvalidInput):
        await services.projects.create("red", quota=Quota(tasks=-1))
    assert [project.quota for project in await services.projects.list()] == [Quota()]
