"""The whole platform, `aetherium up` and its client, against Docker with the same root file system."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path

from aetherium.client import AsyncClient
from aetherium.client.transport import Transport
from aetherium.domain.errors import Unavailable
from aetherium.domain.vms import VMSpec
from aetherium.process import run, spawned
from bench.docker import dockerd, import_rootfs
from bench.machine import SIZE, TRUE, Machine, data_dir
from bench.report import Measurement, Samples

POOL = 3
READY_S = 120.0


async def against_docker(machine: Machine, repeat: int) -> AsyncIterator[Measurement]:
    """Taking a VM from the warm pool and running /bin/true there; running it in a VM that is there."""
    repeat *= 3  # tens of milliseconds each
    async with dockerd() as docker:
        await import_rootfs(docker, machine.image.rootfs, "bench")
        fresh_docker, exec_docker = [], []
        once = ("run", "--rm", "--network", "none", "bench", "/bin/true")
        await docker(*once)
        for _ in range(repeat):
            fresh_docker.append(await _timed(docker(*once)))
        container = await docker("run", "-d", "--network", "none", "bench", "sleep", "1000000")
        for _ in range(repeat):
            exec_docker.append(await _timed(docker("exec", container, "/bin/true")))
        await docker("rm", "-f", container)
    async with _up() as client:
        fresh, in_vm = [], []
        for _ in range(repeat):
            await _pool_filled(client)
            fresh.append(await _timed(_fresh(client)))
        await _pool_filled(client)
        vm = await client.vms.create(VMSpec(resources=SIZE))
        await client.executions.run(vm.id, TRUE)
        for _ in range(repeat):
            in_vm.append(await _timed(_true(client, vm.id)))
        command = [sys.executable, "-m", "aetherium", "vm", "exec", vm.id, "--", "/bin/true"]
        by_command = [await _timed(run(command, env=_environment())) for _ in range(3)]
        await client.vms.delete(vm.id)
    yield Measurement(
        "a VM from the warm pool, and /bin/true there",
        Samples(tuple(fresh)),
        Samples(tuple(fresh_docker)),
        "docker run --rm",
        0.5,
    )
    yield Measurement(
        "exec of /bin/true in a running VM",
        Samples(tuple(in_vm)),
        Samples(tuple(exec_docker)),
        "docker exec",
        0.8,
    )
    yield Measurement("the same by the command aetherium vm exec", Samples(tuple(by_command)))


async def _timed(work: Awaitable[object]) -> float:
    started = time.perf_counter()
    await work
    return time.perf_counter() - started


async def _true(client: AsyncClient, vm: str) -> None:
    execution, _, _ = await client.executions.run(vm, TRUE)
    assert execution.result is not None, execution
    assert execution.result.ok, execution


async def _fresh(client: AsyncClient) -> None:
    vm = await client.vms.create(VMSpec(resources=SIZE))
    await _true(client, vm.id)


def _environment() -> dict[str, str]:
    pool = {"image": "base", "memory_mib": SIZE.memory_mib, "disk_mib": SIZE.disk_mib}
    return {
        **os.environ,
        "AETHERIUM_DATA_DIR": str(data_dir()),
        "AETHERIUM_POOL": json.dumps([{**pool, "minimum": POOL, "maximum": POOL}]),
    }


@asynccontextmanager
async def _up() -> AsyncIterator[AsyncClient]:
    """`aetherium up` with a warm pool, and a client of it."""
    socket = _socket()
    async with spawned([sys.executable, "-m", "aetherium", "up"], env=_environment()) as process:
        try:
            async with asyncio.timeout(READY_S):
                while not await asyncio.to_thread(socket.exists):
                    if process.returncode is not None:
                        raise Unavailable(f"aetherium up ended with {process.returncode}.")
                    await asyncio.sleep(0.02)
            async with AsyncClient.unix(socket) as client:
                try:
                    yield client
                finally:
                    for vm in await client.vms.list():
                        await client.vms.delete(vm.id)
        finally:
            process.terminate()
            await process.wait()


async def _pool_filled(client: AsyncClient) -> None:
    """Return when the pool is full, having deleted the VMs that were taken before."""
    for vm in await client.vms.list():
        await client.vms.delete(vm.id)
    gateway = Transport(_socket())
    try:
        async with asyncio.timeout(READY_S):
            while True:
                level = (await gateway.call("GET", "/readyz"))["pools"]
                if level["ready"] >= level["wanted"]:
                    return
                await asyncio.sleep(0.05)
    finally:
        await gateway.close()


def _socket() -> Path:
    return data_dir() / "run" / "aetherium.sock"
