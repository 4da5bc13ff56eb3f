"""The files of jobs, on this host and in an object store."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from aetherium.domain.errors import InvalidInput, NotFound, Unavailable
from aetherium.domain.ids import JOB, new_id
from aetherium.domain.tasks import TaskState
from aetherium.interfaces.jobs import SOURCE, JobFiles
from aetherium.interfaces.store import Store
from aetherium.objects.local import LocalObjects
from aetherium.services.job_files import LocalJobFiles, SharedJobFiles, publish

JOB_ID = new_id(JOB)
FILES = {
    "events.ndjson": b'{"seq":1}\n',
    "logs/01-build.log": b"building\n",
    "logs/02-test.log": b"x" * 700_000,
    "artifacts/site/ä b.txt": b"artifact",
    "patch.diff": b"",
}
OUTSIDE = (
    "", ".", "..", "/etc/passwd", "../secret", "logs/../../secret", "logs/../patch.diff", "./patch.diff",
    "logs//01-build.log", "logs/", "logs", "none", "logs/none", "patch.diff/x", "a\0b", "x" * 300,
)  # fmt: skip


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A job's, with a secret beside it."""
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "secret").write_bytes(b"secret")
    found = tmp_path / "jobs" / JOB_ID
    for name, data in FILES.items():
        (found / name).parent.mkdir(parents=True, exist_ok=True)
        (found / name).write_bytes(data)
    return found


@pytest.fixture
def objects(tmp_path: Path) -> LocalObjects:
    return LocalObjects(tmp_path / "objects")


async def nowhere(worker: str, job_id: str, name: str, offset: int) -> AsyncIterator[bytes]:
    if worker:
        raise Unavailable(f"{worker} is asked for {name}.")
    yield b""


def shared(
    objects: LocalObjects, state: TaskState = TaskState.SUCCEEDED, worker: str | None = "w1"
) -> JobFiles:
    """Of a job whose task is in that state."""

    async def job(_: str) -> Any:
        return SimpleNamespace(task_id="task", worker_id=worker, attempt=1 if worker else 0)

    async def task(_: str) -> Any:
        return SimpleNamespace(state=state)

    store = SimpleNamespace(jobs=SimpleNamespace(get=job), tasks=SimpleNamespace(get=task))
    return SharedJobFiles(cast(Store, store), objects, nowhere)


@pytest.fixture(params=["local", "shared"])
async def files(request: pytest.FixtureRequest, directory: Path, objects: LocalObjects) -> JobFiles:
    """The same files, here or there."""
    if request.param == "local":
        return LocalJobFiles(directory.parent)
    await publish(objects, directory, JOB_ID)
    return shared(objects)


async def read(files: JobFiles, name: str, offset: int = 0) -> bytes:
    return b"".join([piece async for piece in files.read(JOB_ID, name, offset)])


@pytest.mark.parametrize("name", FILES)
async def test_a_file_is_read_from_anywhere(files: JobFiles, name: str) -> None:
    for offset in (0, 1, len(FILES[name]), 1 << 30):
        assert await read(files, name, offset) == FILES[name][offset:]


async def test_files_are_listed_by_the_begin_of_their_name(files: JobFiles) -> None:
    for prefix in ("", "logs/", "logs", "logs/02", "l", "artifacts/site/", "none/"):
        found = {file.name: file.size_bytes for file in await files.list(JOB_ID, prefix)}
        wanted = {name: len(data) for name, data in sorted(FILES.items()) if name.startswith(prefix)}
        assert [*found.items()] == [*wanted.items()]
    assert await files.list(new_id(JOB)) == []


@pytest.mark.parametrize("name", OUTSIDE)
async def test_nothing_else_is_read(files: JobFiles, name: str) -> None:
    with pytest.raises(NotFound):
        await read(files, name)


@pytest.mark.parametrize("job_id", ["", "..", "../jobs", "job_", f"{JOB_ID}/.."])
async def test_what_is_no_id_is_refused(files: JobFiles, job_id: str) -> None:
    with pytest.raises(InvalidInput):
        await files.list(job_id)
    with pytest.raises(InvalidInput):
        await files.remove(job_id)


async def test_what_a_job_begins_with_goes_with_its_files(files: JobFiles) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"some"
        yield b"thing"

    await files.put(JOB_ID, SOURCE, pieces())
    assert await read(files, SOURCE) == b"something"
    await files.remove(JOB_ID)
    assert await files.list(JOB_ID) == []


async def test_remove(files: JobFiles, directory: Path) -> None:
    await files.remove(JOB_ID)
    await files.remove(JOB_ID)
    assert await files.list(JOB_ID) == []
    assert (directory.parent / "secret").exists()
    with pytest.raises(NotFound):
        await read(files, "patch.diff")


async def test_links_and_pipes_are_no_files(directory: Path, objects: LocalObjects) -> None:
    (directory / "link").symlink_to("patch.diff")
    (directory / "out").symlink_to("../secret")
    (directory / "above").symlink_to("..")
    (directory / "same").symlink_to("logs")
    os.mkfifo(directory / "pipe")
    local = LocalJobFiles(directory.parent)
    await publish(objects, directory, JOB_ID)
    for files in (local, shared(objects)):
        assert [file.name for file in await files.list(JOB_ID)] == sorted(FILES)
        for name in ("link", "out", "above/secret", "same/01-build.log", "pipe"):
            with pytest.raises(NotFound):
                await read(files, name)


async def test_a_file_that_grows_is_read_on(directory: Path) -> None:
    files = LocalJobFiles(directory.parent)
    with (directory / "events.ndjson").open("ab") as file:
        file.write(b'{"seq":2}\n')
    assert await read(files, "events.ndjson", len(FILES["events.ndjson"])) == b'{"seq":2}\n'


async def test_publish_may_be_repeated(directory: Path, objects: LocalObjects) -> None:
    await publish(objects, directory, JOB_ID)
    (directory / "patch.diff").write_bytes(b"changed")
    await publish(objects, directory, JOB_ID)
    assert await read(shared(objects), "patch.diff") == b"changed"
    assert len(await objects.list("jobs")) == len(FILES)


async def test_a_name_that_is_no_key_keeps_nothing_else_back(directory: Path, objects: LocalObjects) -> None:
    deep = directory.joinpath("artifacts", *["d" * 200] * 5)
    deep.mkdir(parents=True)
    (deep / "file").write_bytes(b"x")
    await publish(objects, directory, JOB_ID)
    assert [file.name for file in await shared(objects).list(JOB_ID)] == sorted(FILES)
    name = str((deep / "file").relative_to(directory))
    assert await read(LocalJobFiles(directory.parent), name) == b"x"
    with pytest.raises(NotFound):
        await read(shared(objects), name)


async def test_an_object_store_that_is_down_is_told(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.raises(Unavailable):
        await publish(LocalObjects(tmp_path / "circle"), directory, JOB_ID)


@dataclass
class Counting:
    """An object store that counts how many puts are under way."""

    objects: LocalObjects
    now: int = 0
    most: int = 0

    async def put(self, key: str, data: AsyncIterable[bytes] | bytes) -> int:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            return await self.objects.put(key, data)
        finally:
            self.now -= 1


async def test_few_files_are_sent_at_once(directory: Path, objects: LocalObjects) -> None:
    for number in range(50):
        (directory / f"artifacts/{number}").write_bytes(b"x")
    counting = Counting(objects)
    await publish(cast(Any, counting), directory, JOB_ID)
    assert counting.most == 4
    assert len(await objects.list("jobs")) == len(FILES) + 50


async def test_a_job_that_runs_is_read_from_its_worker(objects: LocalObjects) -> None:
    with pytest.raises(Unavailable, match="w1 is asked for patch"):
        await read(shared(objects, TaskState.RUNNING), "patch.diff")
    with pytest.raises(NotFound, match="not begun"):
        await read(shared(objects, TaskState.QUEUED, None), "patch.diff")
