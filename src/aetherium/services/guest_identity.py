"""Who a VM is, for its guest."""

from __future__ import annotations

import hashlib
import secrets

from aetherium.domain.guest import GuestIdentity
from aetherium.domain.vms import VM
from aetherium.interfaces.clock import Clock

SEED_BYTES = 64


def host_name(vm: VM) -> str:
    """The VM's name, or its id in the letters of a host name."""
    return vm.spec.name or vm.id.replace("_", "-")


def machine_id(vm_id: str) -> str:
    """32 hex digits that stay the same for a VM, also over pause and resume, and differ between VMs."""
    return hashlib.sha256(b"aetherium machine-id\0" + vm_id.encode()).hexdigest()[:32]


def identity(vm: VM, clock: Clock) -> GuestIdentity:
    """To be sent at once: it holds the time of now and randomness that is used once."""
    return GuestIdentity(
        hostname=host_name(vm),
        machine_id=machine_id(vm.id),
        seed=secrets.token_bytes(SEED_BYTES),
        time_ns=int(clock.now().timestamp() * 1_000_000) * 1000,
    )
