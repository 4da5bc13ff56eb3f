"""Bytes in and out of a VM: tar streams against a bare copy over the same transport, and a slow reader."""

from __future__ import annotations

import asyncio
import io
import tarfile
import time
from collections.abc import AsyncIterator

from aetherium.domain.executions import ExecutionSpec
from aetherium.domain.ids import EXECUTION, new_id
from aetherium.interfaces.guest import Guest
from bench.bare import bare_vm, copy_in, copy_out
from bench.machine import Machine, resident_mib
from bench.report import Measurement, Samples

GIB = 1 << 30
MIB = 1 << 20
FILES = 16
IN_MEMORY = 128 * MIB
STDOUT = 100 * MIB
# The slow reader takes 64 KiB and then rests this long: 100 MiB would take it 16 s more than a fast one.
REST_S = 0.01


async def streams(machine: Machine, size: int = GIB) -> AsyncIterator[Measurement]:
    """`size` bytes in as a tar stream of a few files, and out again."""
    async with bare_vm(machine.image, machine.probe) as vm:
        bare_in, bare_out = await copy_in(vm, size), await copy_out(vm, size)
    bare_in, bare_out = size / MIB / bare_in, size / MIB / bare_out
    # The same without its disk, as far as that fits into the guest's memory: shows what the disk costs.
    small = min(size, IN_MEMORY)
    async with machine.booted() as (_, guest, _):
        disk_in, disk_out = await _there_and_back(guest, "/root/in", size)
        memory_in, memory_out = await _there_and_back(guest, "/dev/shm/in", small)  # noqa: S108  # in the guest
    yield _rate("tar stream into a VM, onto its disk", size, disk_in, bare_in)
    yield _rate("tar stream out of a VM, from its disk", size, disk_out, bare_out)
    yield _rate("tar stream into a VM, into its memory", small, memory_in, bare_in)
    yield _rate("tar stream out of a VM, from its memory", small, memory_out, bare_out)


async def _there_and_back(guest: Guest, path: str, size: int) -> tuple[float, float]:
    """An archive into the directory `path` and out again: MiB/s."""
    started = time.perf_counter()
    await guest.archive_in(path, _archive(size))
    unpacked = time.perf_counter()
    received = 0
    async for chunk in guest.archive_out(path):
        received += len(chunk)
    packed = time.perf_counter()
    assert received >= size, received
    return size / MIB / (unpacked - started), size / MIB / (packed - unpacked)


def _rate(name: str, size: int, rate: float, bare: float) -> Measurement:
    unit = "MiB/s"
    return Measurement(
        f"{name}, {size // MIB} MiB",
        Samples((rate,), unit),
        Samples((bare,), unit),
        "bare copy over virtio-serial",
        at_least=True,
    )


async def _archive(size: int) -> AsyncIterator[bytes]:
    """A tar archive, made as it is sent: noise that is the same in each block costs nothing to make."""
    block = bytes(range(256)) * 256
    each = size // FILES
    for number in range(FILES):
        entry = tarfile.TarInfo(f"file-{number}")
        entry.size = each
        yield entry.tobuf()
        for _ in range(each // len(block)):
            yield block
    end = io.BytesIO()
    with tarfile.open(fileobj=end, mode="w"):
        pass
    yield end.getvalue()


async def slow_reader(machine: Machine) -> AsyncIterator[Measurement]:
    """100 MiB of stdout that is read slowly: what the host's process and the agent grow by."""
    spec = ExecutionSpec(argv=("head", "-c", str(STDOUT), "/dev/zero"))
    async with machine.booted() as (_, guest, _):
        host_before, agent_before = resident_mib(), await _agent_mib(guest)
        host, agent, read = 0.0, 0.0, 0
        async with guest.launch(new_id(EXECUTION), spec) as attachment:
            async for chunk in attachment:
                read += len(chunk.data)
                host = max(host, resident_mib() - host_before)
                if read % (10 * MIB) < len(chunk.data):
                    agent = max(agent, await _agent_mib(guest) - agent_before)
                await asyncio.sleep(REST_S * len(chunk.data) / 65536)
        assert read == STDOUT, read
    yield Measurement(
        "100 MiB of stdout, slow reader: growth of the host process", Samples((host,), "MiB"), limit=32
    )
    yield Measurement(
        "100 MiB of stdout, slow reader: growth of the agent", Samples((agent,), "MiB"), limit=32
    )


async def _agent_mib(guest: Guest) -> float:
    _, status, _ = await guest.run(new_id(EXECUTION), ExecutionSpec(argv=("cat", "/proc/1/status")))
    line = next(line for line in status.decode().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024
