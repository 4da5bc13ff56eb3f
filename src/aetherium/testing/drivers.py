"""Drivers that misbehave on purpose, for tests of whoever uses drivers. Each wraps a working one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from pathlib import Path
from typing import TypeVar

from aetherium.domain.guest import GuestEndpoint
from aetherium.interfaces.drivers import (
    DriverProbe,
    Inspection,
    Launch,
    SnapshotData,
    VMDriver,
    VMHandle,
)

ResultT = TypeVar("ResultT")


class WrappedDriver:
    """Passes every call on to `inner`, by way of `_call`, which subclasses override."""

    def __init__(self, inner: VMDriver) -> None:
        self.inner = inner

    async def _call(
        self, method: str, handle: VMHandle | None, work: Callable[[], Awaitable[ResultT]]
    ) -> ResultT:
        return await work()

    @property
    def name(self) -> str:
        return self.inner.name

    async def probe(self) -> DriverProbe:
        return await self._call("probe", None, self.inner.probe)

    async def start(self, launch: Launch) -> VMHandle:
        return await self._call("start", None, lambda: self.inner.start(launch))

    async def restore(self, launch: Launch, snapshot: SnapshotData, directory: Path) -> VMHandle:
        return await self._call("restore", None, lambda: self.inner.restore(launch, snapshot, directory))

    async def recover(self, handle: VMHandle) -> Inspection:
        return await self._call("recover", handle, lambda: self.inner.recover(handle))

    async def inspect(self, handle: VMHandle) -> Inspection:
        return await self._call("inspect", handle, lambda: self.inner.inspect(handle))

    async def wait(self, handle: VMHandle) -> Inspection:
        return await self._call("wait", handle, lambda: self.inner.wait(handle))

    async def endpoints(self, handle: VMHandle) -> Sequence[GuestEndpoint]:
        return await self._call("endpoints", handle, lambda: self.inner.endpoints(handle))

    async def console(self, vm_id: str, *, max_bytes: int = 65536) -> bytes:
        return await self._call("console", None, lambda: self.inner.console(vm_id, max_bytes=max_bytes))

    async def pause(self, handle: VMHandle) -> None:
        await self._call("pause", handle, lambda: self.inner.pause(handle))

    async def resume(self, handle: VMHandle) -> None:
        await self._call("resume", handle, lambda: self.inner.resume(handle))

    async def snapshot(self, handle: VMHandle, directory: Path) -> SnapshotData:
        return await self._call("snapshot", handle, lambda: self.inner.snapshot(handle, directory))

    async def stop(self, handle: VMHandle, *, grace_s: float = 0.0) -> None:
        await self._call("stop", handle, lambda: self.inner.stop(handle, grace_s=grace_s))

    async def delete(self, vm_id: str) -> None:
        await self._call("delete", None, lambda: self.inner.delete(vm_id))

    async def owned(self) -> Sequence[str]:
        return await self._call("owned", None, self.inner.owned)


class SlowDriver(WrappedDriver):
    """Every call takes `delay_s` longer.

    Args:
        methods: names of the calls that are slow; empty: all.
    """

    def __init__(self, inner: VMDriver, delay_s: float, methods: Collection[str] = ()) -> None:
        super().__init__(inner)
        self._delay_s = delay_s
        self._methods = frozenset(methods)

    async def _call(
        self, method: str, handle: VMHandle | None, work: Callable[[], Awaitable[ResultT]]
    ) -> ResultT:
        if not self._methods or method in self._methods:
            await asyncio.sleep(self._delay_s)
        return await work()


class DyingDriver(WrappedDriver):
    """VMs end under the caller's hands.

    Args:
        methods: in ``start`` and ``restore`` the VM ends just before its handle is returned; in any other
            call that takes a handle just before the call is passed on.
        times: how many VMs it takes; the calls after that go well.
    """

    def __init__(self, inner: VMDriver, methods: Collection[str], *, times: int = 1) -> None:
        super().__init__(inner)
        self._methods = frozenset(methods)
        self.remaining = times

    async def _call(
        self, method: str, handle: VMHandle | None, work: Callable[[], Awaitable[ResultT]]
    ) -> ResultT:
        dies = method in self._methods and self.remaining > 0
        if dies and handle is not None:
            await self._end(handle)
        result = await work()
        if dies and isinstance(result, VMHandle):
            await self._end(result)
        return result

    async def _end(self, handle: VMHandle) -> None:
        self.remaining -= 1
        await self.inner.stop(handle)


_: tuple[type[VMDriver], ...] = (SlowDriver, DyingDriver)
