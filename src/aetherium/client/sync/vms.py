"""VMs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from aetherium.client.sync.loop import Part
from aetherium.domain.checks import Check
from aetherium.domain.vms import VM, VMMetrics, VMSpec, VMState


class VMs(Part):
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
