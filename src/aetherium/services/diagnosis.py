"""The walk along the channel to one VM, from its process to its agent, up to where it stops."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aetherium.domain.checks import Check
from aetherium.domain.errors import AetheriumError
from aetherium.domain.vms import VM, VMState
from aetherium.interfaces.drivers import Condition, Inspection
from aetherium.services.connections import handle_of
from aetherium.services.host import Host

_STEPS = ("process", "console", "transport", "handshake", "agent")
_AGENT_S = 5.0
# A round trip takes about a millisecond; the agent of a VM that is starved of CPU takes this long.
_SLOW_S = 0.5


async def diagnose(host: Host, vm: VM) -> Sequence[Check]:
    """One check for each step; those behind the first that failed are skipped."""
    found: list[Check] = []
    try:
        async with asyncio.timeout(30.0):
            await _walk(host, vm, found)
    except AetheriumError as error:
        found.append(Check(_STEPS[len(found)], False, error.message, error.hint))
    except TimeoutError:
        found.append(Check(_STEPS[len(found)], False, "No answer within 30 seconds."))
    reached = len(found)
    found.extend(Check(step, False, "not reached", required=False) for step in _STEPS[reached:])
    return found


async def _walk(host: Host, vm: VM, found: list[Check]) -> None:
    driver = host.drivers.get(vm.driver)
    handle = handle_of(vm)
    seen = await driver.inspect(handle)
    found.append(_process(vm, seen))
    tail = await driver.console(vm.id, max_bytes=400)
    last = tail.decode(errors="replace").strip().splitlines()[-1:]
    # A VM that was forked or restored has not booted, and may have nothing to say.
    found.append(Check("console", True, f"last line: {last[0]}" if last else "nothing was written to it"))
    if not found[0].ok or vm.state is not VMState.RUNNING:
        return
    endpoints = await driver.endpoints(handle)
    found.append(Check("transport", True, f"{len(endpoints)} endpoints: {endpoints[0]}"))
    async with host.connections.session(vm) as guest:
        info = guest.info
        found.append(Check("handshake", True, f"agent {info.agent}, protocol {info.protocol}, {info.kernel}"))
        async with asyncio.timeout(_AGENT_S):
            seconds = await guest.ping()
            running = len(await guest.executions())
        found.append(
            Check(
                "agent",
                seconds < _SLOW_S,
                f"answers in {seconds * 1000:.1f} ms and knows {running} executions",
            )
        )


def _process(vm: VM, seen: Inspection) -> Check:
    text = f"pid {seen.pid}, {seen.condition}; the VM is {vm.state}"
    if seen.condition in (Condition.RUNNING, Condition.PAUSED):
        return Check("process", True, text)
    return Check(
        "process",
        False,
        # The VM's own reason is what whoever ended it said; the driver sees a process that is gone.
        f"{seen.condition}; the VM is {vm.state}: {vm.reason or seen.reason or 'no reason is known'}",
        f"Delete it: aetherium vm rm {vm.id}",
    )
