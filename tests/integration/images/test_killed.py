"""A builder that is killed leaves nothing: neither processes nor directories nor half an image."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from aetherium.images.builder import DiskImageBuilder
from aetherium.images.store import DiskImageStore
from aetherium.process import spawned
from tests.fixtures.images import Member, layer, write_oci

DEADLINE_S = 60.0
_PROGRAM = """
import asyncio, sys
from pathlib import Path
from aetherium.images.builder import DiskImageBuilder
from aetherium.images.store import DiskImageStore

def show(step):
    print(step.stage, flush=True)

builder = DiskImageBuilder(DiskImageStore(Path(sys.argv[1])))
work = builder.build(cache=False, progress=show) if sys.argv[2] == "build" else builder.import_image(
    sys.argv[2], tag="killed", progress=show
)
asyncio.run(work)
"""


def _processes_about(path: Path) -> list[str]:
    """Command lines of living processes that name `path` or stand in it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            places = [line, str((process / "cwd").readlink()), str((process / "root").readlink())]
        except OSError:
            continue  # it has ended, or is a kernel thread
        if process.name != str(os.getpid()) and any(str(path) in place for place in places):
            found.append(line)
    return found


async def _eventually(check: Callable[[], bool], what: str) -> None:
    """Processes die a moment after their parent; there is no event to wait for from outside."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + DEADLINE_S
    while not check():
        assert loop.time() < deadline, what
        ended = loop.create_future()
        loop.call_later(0.02, ended.set_result, None)
        await ended


@pytest.mark.parametrize(
    ("work", "stage"),
    [
        ("build", "Unpacking the kernel"),
        ("build", "Making the initramfs"),
        ("build", "Installing packages"),
        ("import", "Checking layers"),
        ("import", "Unpacking layers"),
        ("import", "Packing the root"),
    ],
)
async def test_kill_9(image_store_copy: DiskImageStore, tmp_path: Path, work: str, stage: str) -> None:
    root = image_store_copy.layout.root
    if work == "import":
        data = os.urandom(1 << 20)
        members = [Member(f"file{number}", data[number:]) for number in range(60)]
        work = write_oci(tmp_path / "large", [layer(members)])
    before = await image_store_copy.list()
    argv = [sys.executable, "-c", _PROGRAM, str(root), work]
    async with asyncio.timeout(DEADLINE_S):
        async with spawned(argv, stdout=asyncio.subprocess.PIPE) as process:
            assert process.stdout is not None
            async for line in process.stdout:
                if line.decode().startswith(stage):
                    break
            os.kill(process.pid, signal.SIGKILL)  # this process alone, not its children
            await process.wait()
    await _eventually(lambda: not _processes_about(root), "children outlive the killed builder")
    async with image_store_copy.staging():
        pass
    assert not [*image_store_copy.layout.staging.iterdir()]
    assert await image_store_copy.list() == before
    tagged = [image for image in before if image.tags]
    await image_store_copy.prune()
    needed = {part for image in tagged for part in (await image_store_copy.manifest(image.digest)).parts}
    blobs = {f"sha256:{path.name}" for path in image_store_copy.layout.blobs.iterdir()}
    assert needed <= blobs
    assert blobs - needed <= set(image_store_copy.layout.remembered_blobs())


async def test_a_cancelled_build_leaves_nothing(image_store_copy: DiskImageStore) -> None:
    reached = asyncio.Event()
    builder = DiskImageBuilder(image_store_copy)
    async with asyncio.TaskGroup() as group:
        work = group.create_task(
            builder.build(
                cache=False,
                progress=lambda step: reached.set() if step.stage == "Installing packages" else None,
            )
        )
        async with asyncio.timeout(DEADLINE_S):
            await reached.wait()
        work.cancel()
    assert not [*image_store_copy.layout.staging.iterdir()]
    assert not _processes_about(image_store_copy.layout.root)
