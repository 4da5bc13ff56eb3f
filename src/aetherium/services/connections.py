"""One connection to each VM that this process uses, and a watch over the VM's process meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NoReturn

from aetherium.domain.errors import (
    AetheriumError,
    BootFailed,
    ChannelClosed,
    Conflict,
    Unavailable,
    VMCrashed,
    VMUnresponsive,
)
from aetherium.domain.vms import VM
from aetherium.interfaces.drivers import Condition, Inspection, VMDriver, VMHandle
from aetherium.interfaces.finishing import race
from aetherium.interfaces.guest import Guest, GuestConnector
from aetherium.services.drivers import Drivers

log = logging.getLogger(__name__)

# To a VM that runs already: its agent answers in milliseconds, in a VM under full load in seconds.
CONNECT_S = 15.0
# After a lost connection the watch has this long to say whether the VM itself has ended.
VERDICT_S = 1.0
# A console's end that goes with an error.
TAIL_BYTES = 2000


def handle_of(vm: VM) -> VMHandle:
    """The driver's handle out of a row. Raises Conflict if the VM has not been started yet."""
    if vm.handle is None:
        raise Conflict(f"The VM {vm.id} is {vm.state}: nothing runs yet.", hint="Wait until it runs.")
    version, data = vm.handle.get("version"), vm.handle.get("data")
    if not isinstance(version, int) or not isinstance(data, dict):
        raise Conflict(f"The VM {vm.id} has a handle that this version cannot read.")
    return VMHandle(vm.driver, vm.id, version, data)


def handle_data(handle: VMHandle) -> dict[str, object]:
    """What a row keeps of a handle."""
    return {"version": handle.version, "data": dict(handle.data)}


@dataclass
class _Entry:
    driver: VMDriver
    handle: VMHandle
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    guest: Guest | None = None
    watcher: asyncio.Task[None] | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    end: Inspection | None = None
    dropped: AetheriumError | None = None


class Connections:
    """The guests of this process.

    Args:
        group: owns the watches.
        on_end: told, once, when a watched VM's process has ended by itself.
    """

    def __init__(
        self,
        drivers: Drivers,
        connector: GuestConnector,
        group: asyncio.TaskGroup,
        on_end: Callable[[str, Inspection], Awaitable[None]],
    ) -> None:
        self._drivers = drivers
        self._connector = connector
        self._group = group
        self._on_end = on_end
        self._entries: dict[str, _Entry] = {}

    async def open(self, vm_id: str, handle: VMHandle, *, timeout_s: float) -> Guest:
        """The first connection to a VM that boots.

        Raises BootFailed when its process ends or its agent does not answer within `timeout_s` seconds.
        """
        entry = self._entry(vm_id, handle)
        try:
            return await race(self._connect(entry, timeout_s), self._boot_end(entry))
        except (VMUnresponsive, ChannelClosed) as error:
            raise BootFailed(
                f"The VM {vm_id} had no ready agent within {timeout_s:g} seconds.",
                hint="See the end of its console in the details.",
                console=await self._tail(entry),
            ) from error

    @asynccontextmanager
    async def session(self, vm: VM) -> AsyncIterator[Guest]:
        """The VM's guest. What a lost connection causes in the block becomes VMCrashed, if the VM has ended,
        VMUnresponsive, if it hangs, and Conflict if it was paused; see interfaces/guest.py for the rest."""
        entry = self._entry(vm.id, handle_of(vm))
        try:
            yield await self._connect(entry, CONNECT_S)
        except (ChannelClosed, VMUnresponsive) as error:
            raise await self._verdict(entry, error) from error
        except BaseExceptionGroup as group:
            lost = _only(group)
            if lost is None:
                raise
            raise await self._verdict(entry, lost) from group

    def watch(self, vm: VM) -> None:
        """Notice the end of its process from now on; may be called again and again."""
        self._entry(vm.id, handle_of(vm))

    def watched(self) -> frozenset[str]:
        """Ids of the VMs under watch."""
        return frozenset(self._entries)

    def connected(self, vm_id: str) -> bool:
        """Whether there is a connection that nothing has been heard against."""
        entry = self._entries.get(vm_id)
        return entry is not None and entry.guest is not None and entry.end is None

    async def drop(self, vm_id: str) -> None:
        """Close the connection and end the watch: the VM is about to be ended. Whoever uses it, or waits for
        it to boot, gets Conflict."""
        await self._drop(vm_id, Conflict(f"The VM {vm_id} was stopped or deleted meanwhile.", vm_id=vm_id))

    async def _drop(self, vm_id: str, reason: AetheriumError) -> None:
        entry = self._entries.pop(vm_id, None)
        if entry is None:
            return
        entry.dropped = reason
        entry.ended.set()
        if entry.watcher is not None:
            entry.watcher.cancel()
        await self._hang_up(entry)

    async def pause(self, vm_id: str) -> None:
        """Close the connection and keep the watch: a paused guest cannot answer heartbeats."""
        entry = self._entries.get(vm_id)
        if entry is not None:
            await self._hang_up(entry)

    async def close(self) -> None:
        """Drop everything; the VMs go on."""
        for vm_id in tuple(self._entries):
            await self._drop(vm_id, Unavailable("This process is shutting down; its VMs go on."))

    def _entry(self, vm_id: str, handle: VMHandle) -> _Entry:
        entry = self._entries.get(vm_id)
        if entry is None:
            entry = self._entries[vm_id] = _Entry(self._drivers.get(handle.driver), handle)
            entry.watcher = self._group.create_task(self._watch(vm_id, entry), name=f"watch {vm_id}")
        return entry

    async def _connect(self, entry: _Entry, timeout_s: float) -> Guest:
        if entry.guest is not None and entry.end is None:
            return entry.guest
        async with entry.lock:
            if entry.end is not None or entry.dropped is not None:
                raise ChannelClosed(f"The VM {entry.handle.vm_id} has ended.")
            if entry.guest is None:
                endpoints = await entry.driver.endpoints(entry.handle)
                entry.guest = await self._connector.connect(endpoints, timeout_s=timeout_s)
            return entry.guest

    async def _watch(self, vm_id: str, entry: _Entry) -> None:
        try:
            entry.end = await entry.driver.wait(entry.handle)
            entry.ended.set()
            await self._hang_up(entry)
            await self._on_end(vm_id, entry.end)
        except AetheriumError as error:
            log.warning("The watch over %s has ended: %s", vm_id, error)
        except Exception:  # a defect in one watch must not end the whole platform
            log.exception("The watch over %s has failed.", vm_id)
        finally:
            if self._entries.get(vm_id) is entry:
                del self._entries[vm_id]

    async def _hang_up(self, entry: _Entry) -> None:
        guest, entry.guest = entry.guest, None
        if guest is not None:
            await guest.close()

    async def _boot_end(self, entry: _Entry) -> NoReturn:
        await entry.ended.wait()
        if entry.dropped is not None:
            raise entry.dropped
        reason = entry.end.reason if entry.end else ""
        raise BootFailed(
            f"The VM {entry.handle.vm_id} ended while it was booting: {_clause(reason)}.",
            hint="See the end of its console in the details.",
            console=await self._tail(entry),
        )

    async def _verdict(self, entry: _Entry, error: AetheriumError) -> AetheriumError:
        """What a lost connection means."""
        vm_id = entry.handle.vm_id
        end = entry.end
        if entry.dropped is not None:
            return entry.dropped
        try:
            async with asyncio.timeout(VERDICT_S):
                if end is None:
                    end = await entry.driver.inspect(entry.handle)
                if end.condition in (Condition.RUNNING, Condition.PANICKED) and entry.end is None:
                    # The connection of a process that is dying closes before the process is gone.
                    await entry.ended.wait()
                    end = entry.end
        except TimeoutError:
            end = entry.end or end
        if end is None or end.condition is Condition.HUNG:
            return VMUnresponsive(
                f"The VM {vm_id} does not answer.", hint=f"See: aetherium doctor vm {vm_id}"
            )
        if end.condition in (Condition.GONE, Condition.PANICKED):
            return VMCrashed(
                f"The VM {vm_id} ended: {_clause(end.reason)}.",
                hint=f"See its console: aetherium vm logs {vm_id}",
                vm_id=vm_id,
                condition=str(end.condition),
            )
        if end.condition is Condition.PAUSED:
            return Conflict(f"The VM {vm_id} was paused.", hint=f"Resume it: aetherium vm resume {vm_id}")
        return error

    async def _tail(self, entry: _Entry) -> str:
        data = await entry.driver.console(entry.handle.vm_id, max_bytes=TAIL_BYTES)
        return data.decode(errors="replace")


def _clause(reason: str) -> str:
    """A reason as the end of a sentence."""
    return reason.rstrip(".") or "no reason is known"


def _only(group: BaseExceptionGroup[BaseException]) -> AetheriumError | None:
    """The error that is all there is in a group, if it is one of a lost connection."""
    leaf: BaseException = group
    while isinstance(leaf, BaseExceptionGroup):
        if len(leaf.exceptions) != 1:
            return None
        leaf = leaf.exceptions[0]
    return leaf if isinstance(leaf, ChannelClosed | VMUnresponsive) else None
