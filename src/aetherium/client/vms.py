"""VMs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from aetherium.client import values
from aetherium.client.paging import collect
from aetherium.client.transport import Transport
from aetherium.domain.checks import Check
from aetherium.domain.errors import ChannelClosed
from aetherium.domain.vms import VM, VMMetrics, VMSpec, VMState


def quoted(ref: str) -> str:
    """A reference as one segment of a path."""
    return quote(ref, safe="")


class VMs:
    """``client.vms``. A `ref` is an id, a name, or a unique prefix of an id."""

    def __init__(self, transport: Transport) -> None:
        self._http = transport

    async def create(
        self,
        spec: VMSpec,
        *,
        snapshot: str | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> VM:
        """A running VM whose agent has answered. Cancelling takes the request back: nothing is left."""
        body = {**values.dump(spec), "snapshot": snapshot}
        async with self._http.lines("POST", "/v1/vms", body=body) as lines:
            async for line in lines:
                if "vm" in line:
                    return values.load(VM, line["vm"])
                if progress is not None:
                    progress(str(line["progress"]))
        raise ChannelClosed("The gateway ended its answer without a VM.")

    async def list(
        self, *, states: Collection[VMState] = (), labels: Mapping[str, str] | None = None
    ) -> Sequence[VM]:
        """All VMs, newest first."""
        params: dict[str, Any] = {
            "state": [state.value for state in states],
            "label": [f"{key}={value}" for key, value in (labels or {}).items()],
        }
        return await collect(self._http, "/v1/vms", VM, params)

    async def get(self, ref: str) -> VM:
        """One VM."""
        return values.load(VM, await self._http.call("GET", f"/v1/vms/{quoted(ref)}"))

    async def delete(self, ref: str) -> None:
        """Delete it, whatever its state."""
        await self._http.call("DELETE", f"/v1/vms/{quoted(ref)}")

    async def stop(self, ref: str, *, grace_s: float = 10.0) -> VM:
        """Power it off cleanly, then by force."""
        return await self._do(ref, "stop", {"grace_s": grace_s})

    async def pause(self, ref: str) -> VM:
        """Stop its processors."""
        return await self._do(ref, "pause")

    async def resume(self, ref: str) -> VM:
        """Let it go on."""
        return await self._do(ref, "resume")

    async def extend(self, ref: str, ttl_s: float | None) -> VM:
        """Set its time to live from now on, in seconds; None: without end."""
        return await self._do(ref, "extend", {"ttl_s": ttl_s})

    async def fork(self, ref: str, count: int = 1, *, names: Sequence[str] = ()) -> Sequence[VM]:
        """Copies of a running VM."""
        body = {"count": count, "names": list(names)}
        found = await self._http.call("POST", f"/v1/vms/{quoted(ref)}/fork", body=body)
        return values.load_all(VM, found)

    async def metrics(self, ref: str) -> VMMetrics:
        """Live facts."""
        return values.load(VMMetrics, await self._http.call("GET", f"/v1/vms/{quoted(ref)}/metrics"))

    async def console(self, ref: str, *, max_bytes: int = 65536) -> bytes:
        """The last bytes of its serial console."""
        return await self._http.read(f"/v1/vms/{quoted(ref)}/console", params={"max_bytes": max_bytes})

    async def diagnose(self, ref: str) -> Sequence[Check]:
        """Walk the channel to it, and say where it stops."""
        return values.load_all(Check, await self._http.call("GET", f"/v1/vms/{quoted(ref)}/diagnosis"))

    async def _do(self, ref: str, verb: str, body: Any = None) -> VM:
        return values.load(VM, await self._http.call("POST", f"/v1/vms/{quoted(ref)}/{verb}", body=body))
