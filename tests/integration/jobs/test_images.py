"""Jobs in images that have nothing: no git, no Python, no shell even."""

from __future__ import annotations

from pathlib import Path

import pytest

from aetherium.domain.jobs import ArtifactRule, GitSource, JobSpec, JobState, JobStep
from aetherium.images.store import DiskImageStore
from tests.fixtures.platform import data_dir, qemu_platform
from tests.integration.jobs.carrying import output
from tests.unit.jobs.trees import content, git, repository

__all__ = ["data_dir"]

pytestmark = pytest.mark.vm


async def test_images_without_anything(
    data_dir: Path, base_image_store: DiskImageStore, busybox_oci: str, empty_oci: str, tmp_path: Path
) -> None:
    origin = tmp_path / "origin"
    await repository(origin, {"a.txt": b"one\n"})
    source = GitSource(str(origin))
    script = JobStep("script", run="id; echo two >> a.txt; cat a.txt > b.txt; ls -a")
    found = (ArtifactRule("b.txt", "b.txt", required=True),)
    async with qemu_platform(data_dir, base_image_store, background=False, warm_snapshots=0) as platform:
        for name, image in (("small", busybox_oci), ("empty", empty_oci)):
            await platform.images.import_image(image, tag=name)
        small = await platform.jobs.submit(JobSpec((script,), image="small", source=source, artifacts=found))
        ended = await platform.jobs.wait(small.id)
        events = [event async for event in platform.jobs.events(small.id)]
        assert ended.state is JobState.SUCCEEDED, (ended.error, output(events))
        await git(origin, "apply", str(platform.jobs.directory(small.id) / "changes.patch"))
        assert content(origin)[b"b.txt"] == ("file", b"one\ntwo\n")

        bare = JobStep("no shell", run="true")
        empty = await platform.jobs.submit(JobSpec((bare,), image="empty", source=source))
        ended = await platform.jobs.wait(empty.id)
        assert (ended.state, ended.exit_code, ended.patch) == (JobState.FAILED, 127, None), ended.error
        assert await platform.vms.list() == []
