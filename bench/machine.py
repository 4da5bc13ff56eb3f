"""What the benchmarks share: the image, the driver, VMs."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aetherium.channel import Connector
from aetherium.domain.executions import ExecutionSpec
from aetherium.domain.ids import EXECUTION, VM, new_id
from aetherium.domain.images import ImagePaths
from aetherium.domain.vms import Resources
from aetherium.drivers.qemu import QemuDriver
from aetherium.images.builder import DiskImageBuilder
from aetherium.images.store import DiskImageStore
from aetherium.interfaces.drivers import DriverProbe, Launch, SnapshotData, VMHandle
from aetherium.interfaces.guest import Guest

SIZE = Resources(vcpus=1, memory_mib=512, disk_mib=4096)
TRUE = ExecutionSpec(argv=("/bin/true",))


def data_dir() -> Path:
    """Kept between runs, for the image. $AETHERIUM_BENCH_DATA, or below the user's cache directory."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("AETHERIUM_BENCH_DATA") or Path(cache) / "aetherium-bench")


@dataclass(frozen=True, slots=True)
class Machine:
    """The parts under measurement."""

    driver: QemuDriver
    probe: DriverProbe
    image: ImagePaths
    scratch: Path

    def launch(self) -> Launch:
        """A new VM of the usual size."""
        return Launch(new_id(VM), self.image, SIZE)

    @asynccontextmanager
    async def booted(self) -> AsyncIterator[tuple[VMHandle, Guest, float]]:
        """A cold boot: handle, connected guest, seconds until it answered."""
        launch = self.launch()
        started = time.perf_counter()
        handle = await self.driver.start(launch)
        async with self.connected(handle) as guest:
            yield handle, guest, time.perf_counter() - started

    @asynccontextmanager
    async def restored(
        self, data: SnapshotData, directory: Path
    ) -> AsyncIterator[tuple[VMHandle, Guest, float]]:
        """One more VM from a snapshot: handle, connected guest, seconds until it answered."""
        launch = self.launch()
        started = time.perf_counter()
        handle = await self.driver.restore(launch, data, directory)
        async with self.connected(handle) as guest:
            yield handle, guest, time.perf_counter() - started

    @asynccontextmanager
    async def connected(self, handle: VMHandle) -> AsyncIterator[Guest]:
        """The guest of a VM, which is deleted afterwards."""
        try:
            guest = await Connector().connect(await self.driver.endpoints(handle), timeout_s=60)
            try:
                yield guest
            finally:
                await guest.close()
        finally:
            await self.driver.delete(handle.vm_id)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[tuple[SnapshotData, Path]]:
        """A snapshot of a fresh VM in which one command has run."""
        directory = self.scratch / "snapshot"
        async with self.booted() as (handle, guest, _):
            await run_true(guest)
            data = await self.driver.snapshot(handle, directory)
        yield data, directory


async def run_true(guest: Guest) -> float:
    """Run /bin/true to its end; seconds."""
    started = time.perf_counter()
    result, _, _ = await guest.run(new_id(EXECUTION), TRUE)
    assert result.ok, result
    return time.perf_counter() - started


@asynccontextmanager
async def machine() -> AsyncIterator[Machine]:
    """The driver in a directory of its own, and the image ``base``, which is built if need be."""
    store = DiskImageStore(data_dir() / "images")
    image = await DiskImageBuilder(store).build()
    with tempfile.TemporaryDirectory(prefix="aetherium-bench-vms-", dir=data_dir()) as name:
        driver = QemuDriver(Path(name) / "vms")
        yield Machine(driver, await driver.probe(), await store.paths(image.digest), Path(name))


def resident_mib(pid: int | str = "self") -> float:
    """Resident memory of a process on this host in MiB (VmRSS of /proc/PID/status)."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0
