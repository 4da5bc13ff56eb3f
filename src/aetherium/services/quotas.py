"""What a project may have at once, checked where VMs are made; the orchestrator checks it where tasks are
placed (orchestrator/dispatcher.py)."""

from __future__ import annotations

from collections.abc import Sequence

from aetherium.domain.errors import LimitExceeded
from aetherium.domain.projects import NO_PROJECT
from aetherium.domain.vms import VM, VM_LIFECYCLE, VMSpec, VMState
from aetherium.interfaces.store import Store

_LIVING = frozenset(state for state in VMState if not VM_LIFECYCLE.is_final(state))
# So many of those that use a limit are named in a refusal.
_NAMED = 5


async def admit_vms(store: Store, project_id: str, specs: Sequence[VMSpec]) -> None:
    """Raise LimitExceeded if a project may not have these VMs beside those that it has."""
    if project_id == NO_PROJECT:
        return
    quota = (await store.projects.find(project_id)).quota
    limits = {
        name: limit
        for name in ("vms", "vcpus", "memory_mib", "disk_mib")
        if (limit := getattr(quota, name)) is not None
    }
    if not limits:
        return
    living = await store.of_project(project_id).vms.list(states=_LIVING)
    for name, limit in limits.items():
        used = sum(_size(vm.spec, name) for vm in living)
        wanted = sum(_size(spec, name) for spec in specs)
        if used + wanted > limit:
            raise LimitExceeded(
                f"The project may have {limit} {name}: {used} in use{_by(living, name)}, {wanted} asked for.",
                hint="Delete what is not needed, or ask an administrator for a larger quota.",
                limit=name,
                allowed=limit,
                used=used,
                wanted=wanted,
                used_by=[vm.id for vm in living],
            )


def _size(spec: VMSpec, name: str) -> int:
    return 1 if name == "vms" else int(getattr(spec.resources, name))


def _by(living: Sequence[VM], name: str) -> str:
    largest = sorted(living, key=lambda vm: -_size(vm.spec, name))
    named = [vm.spec.name or vm.id for vm in largest[:_NAMED]]
    more = len(living) - len(named)
    return f" by {', '.join(named)}{f' and {more} more' if more else ''}" if named else ""
