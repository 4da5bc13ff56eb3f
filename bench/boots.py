"""Cold boot, restore, fork, and what further forks cost in memory."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path

from aetherium.interfaces.drivers import SnapshotData, VMHandle
from bench.bare import bare_vm
from bench.machine import SIZE, Machine, resident_mib, run_true
from bench.report import Measurement, Samples

FORKS = 8
MIB = 1 << 20


async def boots(machine: Machine, repeat: int) -> AsyncIterator[Measurement]:
    """Bare and whole boots taken in turns, so that a change of the machine's load meets both."""
    bare, cold, restored, forked = [], [], [], []
    for _ in range(repeat):
        async with bare_vm(machine.image, machine.probe, memory_mib=SIZE.memory_mib) as vm:
            bare.append(vm.boot_s)
        async with machine.booted() as (_, _, seconds):
            cold.append(seconds)
    baseline = Samples(tuple(cold))
    yield Measurement(
        "cold boot to a ready agent", baseline, Samples(tuple(bare)), "bare QEMU boot to init", 1.5
    )
    async with machine.snapshot() as (data, directory):
        for _ in range(repeat * 2):
            started = time.perf_counter()
            async with machine.restored(data, directory) as (_, guest, seconds):
                forked.append(seconds)
                await run_true(guest)
                restored.append(time.perf_counter() - started)
        yield Measurement(
            "restore to the first finished /bin/true", Samples(tuple(restored)), baseline, "cold boot", 0.15
        )
        yield Measurement(
            "fork to the first agent answer", Samples(tuple(forked)), baseline, "cold boot", 0.05
        )
        async for measurement in _memory(machine, data, directory):
            yield measurement


async def _memory(machine: Machine, data: SnapshotData, directory: Path) -> AsyncIterator[Measurement]:
    """Forks side by side: pages that they share count once, in equal parts (PSS)."""
    async with AsyncExitStack() as stack:
        handles: list[VMHandle] = []
        own = [resident_mib()]
        total = []
        for _ in range(FORKS):
            handle, guest, _ = await stack.enter_async_context(machine.restored(data, directory))
            await run_true(guest)
            handles.append(handle)
            total.append(sum([(await machine.driver.inspect(each)).memory_bytes for each in handles]) / MIB)
            own.append(resident_mib())
        further = tuple(after - before for before, after in pairwise(total))
        yield Measurement("memory (PSS) of each further fork after a command", Samples(further, "MiB"))
        each = (own[-1] - own[0]) / FORKS
        yield Measurement("memory of the host process for each connected VM", Samples((each,), "MiB"))
