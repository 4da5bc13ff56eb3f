"""VMs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypedDict, Unpack

from aetherium.client import values
from aetherium.client.machines import Machine
from aetherium.client.paging import iterate
from aetherium.client.pending import Pending
from aetherium.client.transport import Transport, quoted
from aetherium.domain.checks import Check
from aetherium.domain.errors import ChannelClosed, NotFound
from aetherium.domain.vms import VM, NetworkPolicy, Resources, VMMetrics, VMSpec, VMState


class Fields(TypedDict, total=False):
    """The fields of a VMSpec."""

    image: str
    name: str | None
    driver: str
    resources: Resources
    network: NetworkPolicy
    ttl_s: float | None
    idle_timeout_s: float | None
    idle_action: str
    labels: Mapping[str, str]
    env: Mapping[str, str]


class VMs:
    """``client.vms``. A `ref` is an id, a name, or a unique prefix of an id."""

    def __init__(self, transport: Transport) -> None:
        self._http = transport

    def create(
        self,
        spec: VMSpec | None = None,
        *,
        snapshot: str | None = None,
        progress: Callable[[str], None] | None = None,
        **fields: Unpack[Fields],
    ) -> Pending[Machine]:
        """A running VM whose agent has answered: ``await`` it, or let it live for the length of an
        ``async with`` block. Cancelling takes the request back: nothing is left.

        Args:
            spec: what is asked for; `fields` are those of a VMSpec, by themselves or instead of its own.
            snapshot: what it is restored from, by id, name, or unique prefix of an id.
            progress: is told what is being done.
        """
        wanted = replace(spec or VMSpec(), **fields)
        return Pending(lambda: self._create(wanted, snapshot, progress), deleted)

    async def _create(
        self, spec: VMSpec, snapshot: str | None, progress: Callable[[str], None] | None
    ) -> Machine:
        body = {**values.dump(spec), "snapshot": snapshot}
        async with self._http.lines("POST", "/v1/vms", body=body, key=values.new_key()) as lines:
            async for line in lines:
                if "vm" in line:
                    return self._bound(line["vm"])
                if progress is not None:
                    progress(str(line["progress"]))
        raise ChannelClosed("The gateway ended its answer without a VM.")

    async def list(
        self, *, states: Collection[VMState] = (), labels: Mapping[str, str] | None = None
    ) -> Sequence[Machine]:
        """All VMs, newest first."""
        return [machine async for machine in self.iterate(states=states, labels=labels)]

    async def iterate(
        self, *, states: Collection[VMState] = (), labels: Mapping[str, str] | None = None
    ) -> AsyncIterator[Machine]:
        """The same as `list`, page by page."""
        params: dict[str, Any] = {
            "state": [state.value for state in states],
            "label": [f"{key}={value}" for key, value in (labels or {}).items()],
        }
        async for vm in iterate(self._http, "/v1/vms", VM, params):
            yield Machine(vm, self, self._http)

    async def get(self, ref: str) -> Machine:
        """One VM."""
        return self._bound(await self._http.call("GET", f"/v1/vms/{quoted(ref)}"))

    async def delete(self, ref: str) -> None:
        """Delete it, whatever its state."""
        await self._http.call("DELETE", f"/v1/vms/{quoted(ref)}")

    async def stop(self, ref: str, *, grace_s: float = 10.0) -> Machine:
        """Power it off cleanly, then by force."""
        return await self._do(ref, "stop", {"grace_s": grace_s})

    async def pause(self, ref: str) -> Machine:
        """Stop its processors."""
        return await self._do(ref, "pause")

    async def resume(self, ref: str) -> Machine:
        """Let it go on."""
        return await self._do(ref, "resume")

    async def extend(self, ref: str, ttl_s: float | None) -> Machine:
        """Set its time to live from now on, in seconds; None: without end."""
        return await self._do(ref, "extend", {"ttl_s": ttl_s})

    async def fork(self, ref: str, count: int = 1, *, names: Sequence[str] = ()) -> Sequence[Machine]:
        """Copies of a running VM."""
        body = {"count": count, "names": list(names)}
        path = f"/v1/vms/{quoted(ref)}/fork"
        found = await self._http.call("POST", path, body=body, key=values.new_key())
        return [self._bound(vm) for vm in found]

    async def metrics(self, ref: str) -> VMMetrics:
        """Live facts."""
        return values.load(VMMetrics, await self._http.call("GET", f"/v1/vms/{quoted(ref)}/metrics"))

    async def console(self, ref: str, *, max_bytes: int = 65536) -> bytes:
        """The last bytes of its serial console."""
        return await self._http.read(f"/v1/vms/{quoted(ref)}/console", params={"max_bytes": max_bytes})

    async def diagnose(self, ref: str) -> Sequence[Check]:
        """Walk the channel to it, and say where it stops."""
        return values.load_all(Check, await self._http.call("GET", f"/v1/vms/{quoted(ref)}/diagnosis"))

    async def _do(self, ref: str, verb: str, body: Any = None) -> Machine:
        return self._bound(await self._http.call("POST", f"/v1/vms/{quoted(ref)}/{verb}", body=body))

    def _bound(self, vm: Any) -> Machine:
        return Machine(values.load(VM, vm), self, self._http)


async def deleted(machine: Machine) -> None:
    """Let it be gone, as it is already if it was deleted in its block, or its time was up."""
    with suppress(NotFound):
        await machine.delete()
