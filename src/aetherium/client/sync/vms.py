"""VMs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from typing import Any, Unpack

from aetherium.client import machines
from aetherium.client.sync.loop import Part
from aetherium.client.sync.machines import Machine
from aetherium.client.vms import Fields
from aetherium.domain.checks import Check
from aetherium.domain.vms import VMMetrics, VMSpec, VMState


class VMs(Part):
    """``client.vms``; see aetherium.client.vms."""

    def create(
        self,
        spec: VMSpec | None = None,
        *,
        snapshot: str | None = None,
        progress: Callable[[str], None] | None = None,
        **fields: Unpack[Fields],
    ) -> Machine:
        """A running VM whose agent has answered. As a context manager, it is deleted when the block ends."""
        return self._made(
            self._client.vms.create(spec, snapshot=snapshot, progress=progress, **fields).made()
        )

    def list(
        self, *, states: Collection[VMState] = (), labels: Mapping[str, str] | None = None
    ) -> Sequence[Machine]:
        """All VMs, newest first."""
        return [*self.iterate(states=states, labels=labels)]

    def iterate(
        self, *, states: Collection[VMState] = (), labels: Mapping[str, str] | None = None
    ) -> Iterator[Machine]:
        """The same as `list`, page by page."""
        for machine in self._loop.each(self._client.vms.iterate(states=states, labels=labels)):
            yield Machine(machine, self._loop)

    def get(self, ref: str) -> Machine:
        """One VM."""
        return self._made(self._client.vms.get(ref))

    def delete(self, ref: str) -> None:
        """Delete it, whatever its state."""
        self._loop.run(self._client.vms.delete(ref))

    def stop(self, ref: str, *, grace_s: float = 10.0) -> Machine:
        """Power it off cleanly, then by force."""
        return self._made(self._client.vms.stop(ref, grace_s=grace_s))

    def pause(self, ref: str) -> Machine:
        """Stop its processors."""
        return self._made(self._client.vms.pause(ref))

    def resume(self, ref: str) -> Machine:
        """Let it go on."""
        return self._made(self._client.vms.resume(ref))

    def extend(self, ref: str, ttl_s: float | None) -> Machine:
        """Set its time to live from now on."""
        return self._made(self._client.vms.extend(ref, ttl_s))

    def fork(self, ref: str, count: int = 1, *, names: Sequence[str] = ()) -> Sequence[Machine]:
        """Copies of a running VM."""
        forks = self._loop.run(self._client.vms.fork(ref, count, names=names))
        return [Machine(fork, self._loop) for fork in forks]

    def metrics(self, ref: str) -> VMMetrics:
        """Live facts."""
        return self._loop.run(self._client.vms.metrics(ref))

    def console(self, ref: str, *, max_bytes: int = 65536) -> bytes:
        """The last bytes of its serial console."""
        return self._loop.run(self._client.vms.console(ref, max_bytes=max_bytes))

    def diagnose(self, ref: str) -> Sequence[Check]:
        """Walk the channel to it."""
        return self._loop.run(self._client.vms.diagnose(ref))

    def _made(self, call: Coroutine[Any, Any, machines.Machine]) -> Machine:
        return Machine(self._loop.run(call), self._loop)
