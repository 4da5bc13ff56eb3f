"""The client for programs without an event loop: the same calls, which wait.

One thread runs the event loop of all calls of a client; a client may be used from several threads.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from aetherium.client.aio import AsyncClient
from aetherium.client.images import Progress
from aetherium.domain.checks import Check
from aetherium.domain.errors import Unavailable
from aetherium.domain.executions import Execution, ExecutionSpec
from aetherium.domain.guest import FileStat, OutputChunk
from aetherium.domain.images import Image, ImageRecipe
from aetherium.domain.jobs import Job, JobEvent, JobSpec, JobState, StepLog
from aetherium.domain.snapshots import Snapshot
from aetherium.domain.vms import VM, VMMetrics, VMSpec, VMState

T = TypeVar("T")


class _Loop:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="aetherium", daemon=True)
        self._thread.start()

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        """The result of `call`; an interrupt (Ctrl-C) cancels it."""
        future = asyncio.run_coroutine_threadsafe(call, self._loop)
        try:
            return future.result()
        except CancelledError:
            raise Unavailable("The client was closed in the middle of a call.") from None
        except BaseException:
            future.cancel()
            raise

    def iterate(self, source: AbstractAsyncContextManager[AsyncIterator[T]]) -> Iterator[T]:
        """The items of a stream, one at a time."""
        items = self.run(source.__aenter__())
        try:
            while (item := self.run(_next(items))) is not None:
                yield item
        finally:
            self.run(_leave(source))

    def close(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _next(items: AsyncIterator[T]) -> T | None:
    return await anext(items, None)


async def _leave(source: AbstractAsyncContextManager[Any]) -> None:
    await source.__aexit__(None, None, None)


class _Part:
    def __init__(self, client: AsyncClient, loop: _Loop) -> None:
        self._client = client
        self._loop = loop


class VMs(_Part):
    """``client.vms``; see aetherium.client.vms."""

    def create(
        self,
        spec: VMSpec,
        *,
        snapshot: str | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> VM:
        """A running VM whose agent has answered."""
        return self._loop.run(self._client.vms.create(spec, snapshot=snapshot, progress=progress))

    def list(
        self, *, states: Collection[VMState] = (), labels: Mapping[str, str] | None = None
    ) -> Sequence[VM]:
        """All VMs, newest first."""
        return self._loop.run(self._client.vms.list(states=states, labels=labels))

    def get(self, ref: str) -> VM:
        """One VM."""
        return self._loop.run(self._client.vms.get(ref))

    def delete(self, ref: str) -> None:
        """Delete it, whatever its state."""
        self._loop.run(self._client.vms.delete(ref))

    def stop(self, ref: str, *, grace_s: float = 10.0) -> VM:
        """Power it off cleanly, then by force."""
        return self._loop.run(self._client.vms.stop(ref, grace_s=grace_s))

    def pause(self, ref: str) -> VM:
        """Stop its processors."""
        return self._loop.run(self._client.vms.pause(ref))

    def resume(self, ref: str) -> VM:
        """Let it go on."""
        return self._loop.run(self._client.vms.resume(ref))

    def extend(self, ref: str, ttl_s: float | None) -> VM:
        """Set its time to live from now on."""
        return self._loop.run(self._client.vms.extend(ref, ttl_s))

    def fork(self, ref: str, count: int = 1, *, names: Sequence[str] = ()) -> Sequence[VM]:
        """Copies of a running VM."""
        return self._loop.run(self._client.vms.fork(ref, count, names=names))

    def metrics(self, ref: str) -> VMMetrics:
        """Live facts."""
        return self._loop.run(self._client.vms.metrics(ref))

    def console(self, ref: str, *, max_bytes: int = 65536) -> bytes:
        """The last bytes of its serial console."""
        return self._loop.run(self._client.vms.console(ref, max_bytes=max_bytes))

    def diagnose(self, ref: str) -> Sequence[Check]:
        """Walk the channel to it."""
        return self._loop.run(self._client.vms.diagnose(ref))


class Executions(_Part):
    """``client.executions``; see aetherium.client.executions."""

    def run(self, vm: str, spec: ExecutionSpec) -> tuple[Execution, bytes, bytes]:
        """Run a command to its end."""
        return self._loop.run(self._client.executions.run(vm, spec))

    def start(self, vm: str, spec: ExecutionSpec) -> Execution:
        """Start a command in the background."""
        return self._loop.run(self._client.executions.start(vm, spec))

    def follow(
        self, execution_id: str, *, stdout_offset: int = 0, stderr_offset: int = 0
    ) -> Iterator[OutputChunk]:
        """Its output from these offsets on, to its end."""
        return self._loop.iterate(_Follow(self._client, execution_id, stdout_offset, stderr_offset))

    def list(self, vm: str) -> Sequence[Execution]:
        """The executions of a VM, newest first."""
        return self._loop.run(self._client.executions.list(vm))

    def get(self, execution_id: str) -> Execution:
        """One execution."""
        return self._loop.run(self._client.executions.get(execution_id))

    def wait(self, execution_id: str) -> Execution:
        """One execution, at its end."""
        return self._loop.run(self._client.executions.wait(execution_id))

    def signal(self, execution_id: str, signal: int) -> None:
        """Send a signal to its process group."""
        self._loop.run(self._client.executions.signal(execution_id, signal))

    def kill(self, execution_id: str) -> None:
        """Kill everything that it has started."""
        self._loop.run(self._client.executions.kill(execution_id))


class _Follow(AbstractAsyncContextManager[AsyncIterator[OutputChunk]]):
    """An execution's output as a stream of chunks."""

    def __init__(self, client: AsyncClient, execution_id: str, stdout: int, stderr: int) -> None:
        self._inner = client.executions.follow(execution_id, stdout_offset=stdout, stderr_offset=stderr)

    async def __aenter__(self) -> AsyncIterator[OutputChunk]:
        return aiter(await self._inner.__aenter__())

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._inner.__aexit__(kind, error, traceback)


class Files(_Part):
    """``client.files``; see aetherium.client.files. Whole files in memory: for large ones, AsyncClient."""

    def read(self, vm: str, path: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """A file's bytes, or a range of them."""
        return self._loop.run(_joined(self._client.files.read(vm, path, offset=offset, length=length)))

    def write(
        self, vm: str, path: str, data: bytes, *, mode: int | None = None, user: str | None = None
    ) -> FileStat:
        """Replace a file atomically."""
        return self._loop.run(self._client.files.write(vm, path, data, mode=mode, user=user))

    def stat(self, vm: str, path: str) -> FileStat:
        """One entry."""
        return self._loop.run(self._client.files.stat(vm, path))

    def list(self, vm: str, path: str) -> Sequence[FileStat]:
        """The entries of a directory."""
        return self._loop.run(self._client.files.list(vm, path))

    def mkdir(self, vm: str, path: str, *, parents: bool = True) -> None:
        """Make a directory."""
        self._loop.run(self._client.files.mkdir(vm, path, parents=parents))

    def move(self, vm: str, source: str, target: str) -> None:
        """Move or rename."""
        self._loop.run(self._client.files.move(vm, source, target))

    def remove(self, vm: str, path: str, *, recursive: bool = False) -> None:
        """Remove a file or directory."""
        self._loop.run(self._client.files.remove(vm, path, recursive=recursive))


async def _joined(pieces: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])


class Images(_Part):
    """``client.images``; see aetherium.client.images."""

    def build(
        self, recipe: ImageRecipe | None = None, *, cache: bool = True, progress: Progress | None = None
    ) -> Image:
        """Build an image from Debian packages."""
        return self._loop.run(self._client.images.build(recipe, cache=cache, progress=progress))

    def import_image(self, source: str, *, tag: str | None = None, progress: Progress | None = None) -> Image:
        """Make an OCI image bootable."""
        return self._loop.run(self._client.images.import_image(source, tag=tag, progress=progress))

    def list(self) -> Sequence[Image]:
        """All images, newest first."""
        return self._loop.run(self._client.images.list())

    def get(self, ref: str) -> Image:
        """One image."""
        return self._loop.run(self._client.images.get(ref))

    def tag(self, ref: str, tag: str) -> Image:
        """Give it a further tag."""
        return self._loop.run(self._client.images.tag(ref, tag))

    def remove(self, ref: str) -> int:
        """Remove a tag, and the image with its last one."""
        return self._loop.run(self._client.images.remove(ref))

    def prune(self, *, tagged: bool = False) -> int:
        """Remove what nobody uses."""
        return self._loop.run(self._client.images.prune(tagged=tagged))


class Snapshots(_Part):
    """``client.snapshots``; see aetherium.client.snapshots."""

    def create(self, vm: str, *, name: str | None = None) -> Snapshot:
        """Memory, disk and devices of a VM."""
        return self._loop.run(self._client.snapshots.create(vm, name=name))

    def list(self) -> Sequence[Snapshot]:
        """All snapshots, newest first."""
        return self._loop.run(self._client.snapshots.list())

    def get(self, ref: str) -> Snapshot:
        """One snapshot."""
        return self._loop.run(self._client.snapshots.get(ref))

    def delete(self, ref: str) -> None:
        """Delete it."""
        self._loop.run(self._client.snapshots.delete(ref))


class Jobs(_Part):
    """``client.jobs``; see aetherium.client.jobs."""

    def submit(self, spec: JobSpec, *, secrets: Mapping[str, str] | None = None) -> Job:
        """Start a job."""
        return self._loop.run(self._client.jobs.submit(spec, secrets=secrets))

    def list(self, *, states: Collection[JobState] = ()) -> Sequence[Job]:
        """Jobs, newest first."""
        return self._loop.run(self._client.jobs.list(states=states))

    def get(self, ref: str) -> Job:
        """One job."""
        return self._loop.run(self._client.jobs.get(ref))

    def wait(self, ref: str) -> Job:
        """One job, at its end."""
        return self._loop.run(self._client.jobs.wait(ref))

    def events(self, ref: str, *, after: int = 0) -> Iterator[JobEvent]:
        """What happens in it, until it has ended."""
        return self._loop.iterate(self._client.jobs.events(ref, after=after))

    def cancel(self, ref: str) -> Job:
        """Ask it to end."""
        return self._loop.run(self._client.jobs.cancel(ref))

    def delete(self, ref: str) -> None:
        """Delete it, with its logs and artifacts."""
        self._loop.run(self._client.jobs.delete(ref))

    def logs(self, ref: str) -> Sequence[StepLog]:
        """The files with what its steps have written so far."""
        return self._loop.run(self._client.jobs.logs(ref))

    def log(self, ref: str, name: str) -> bytes:
        """What a step has written so far."""
        return self._loop.run(_joined(self._client.jobs.log(ref, name)))

    def patch(self, ref: str, *, delta: bool = False) -> bytes:
        """All changes that it made."""
        return self._loop.run(_joined(self._client.jobs.patch(ref, delta=delta)))

    def artifact(self, ref: str, name: str) -> bytes:
        """An artifact's bytes."""
        return self._loop.run(_joined(self._client.jobs.artifact(ref, name)))


class Client:
    """Everything that a gateway offers. Use it as a context manager, or call `close`."""

    def __init__(self, socket: Path | str) -> None:
        self._loop = _Loop()
        self._client = self._loop.run(_made(socket))
        self.vms = VMs(self._client, self._loop)
        self.executions = Executions(self._client, self._loop)
        self.files = Files(self._client, self._loop)
        self.images = Images(self._client, self._loop)
        self.snapshots = Snapshots(self._client, self._loop)
        self.jobs = Jobs(self._client, self._loop)

    @classmethod
    def unix(cls, socket: Path | str) -> Client:
        """A client of the gateway that listens at this Unix socket."""
        return cls(socket)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections and end the thread."""
        self._loop.run(self._client.close())
        self._loop.close()

    def health(self) -> dict[str, Any]:
        """``status``, ``version`` and ``pid`` of the gateway."""
        return self._loop.run(self._client.health())

    def doctor(self) -> list[Check]:
        """What works on the gateway's host."""
        return self._loop.run(self._client.doctor())


async def _made(socket: Path | str) -> AsyncClient:
    return AsyncClient.unix(socket)
