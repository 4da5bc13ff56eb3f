"""What all parts of the driver contract share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from aetherium.domain.errors import ChannelClosed
from aetherium.domain.ids import VM, new_id
from aetherium.domain.images import ImagePaths
from aetherium.domain.vms import Capability, Resources
from aetherium.interfaces.drivers import Condition, Inspection, Launch, SnapshotData, VMDriver, VMHandle
from tests.fixtures.vms import RunningVM, connected

DEADLINE_S = 90.0

MakeDriver = Callable[[Path], VMDriver]
MakeVM = Callable[[], Awaitable[RunningVM]]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the VMs of a class of tests come from: a snapshot where the driver can, otherwise a boot."""

    driver: VMDriver
    root: Path
    snapshot: tuple[SnapshotData, Path] | None


@asynccontextmanager
async def originate(
    make_driver: MakeDriver, directory: Path, image: ImagePaths, resources: Resources
) -> AsyncIterator[Origin]:
    """One boot for all tests of a module. Its path is longer than a socket's may be."""
    root = directory / "a-directory-whose-path-is-longer-than-the-path-of-a-socket-may-be" / "below" / "vms"
    driver = make_driver(root)
    snapshot = None
    if Capability.FORK in (await driver.probe()).capabilities:
        handle = await driver.start(Launch(new_id(VM), image, resources))
        vm = await connected(driver, handle)
        await vm.sh("true")
        await vm.guest.close()
        snapshot = await driver.snapshot(handle, directory / "base"), directory / "base"
        await driver.delete(handle.vm_id)
    try:
        yield Origin(driver, root, snapshot)
    finally:
        for vm_id in await driver.owned():
            await driver.delete(vm_id)


class ContractBase:
    """Override the first three fixtures, and provide `origin` in the module, made by `originate`."""

    @pytest.fixture
    def make_driver(self) -> MakeDriver:
        raise NotImplementedError

    @pytest.fixture
    def image(self) -> ImagePaths:
        raise NotImplementedError

    @pytest.fixture
    def resources(self) -> Resources:
        raise NotImplementedError

    @pytest.fixture
    def driver(self, origin: Origin) -> VMDriver:
        return origin.driver

    @pytest.fixture
    def root(self, origin: Origin) -> Path:
        return origin.root

    @pytest.fixture
    async def capabilities(self, driver: VMDriver) -> frozenset[Capability]:
        return (await driver.probe()).capabilities

    @pytest.fixture
    def launch(self, image: ImagePaths, resources: Resources) -> Launch:
        """For a VM that does not exist yet."""
        return Launch(new_id(VM), image, resources)

    @pytest.fixture
    async def make_vm(self, origin: Origin, image: ImagePaths, resources: Resources) -> AsyncIterator[MakeVM]:
        """Makes running VMs with connected agents; deleted at the end."""
        driver = origin.driver
        async with AsyncExitStack() as stack:

            async def make() -> RunningVM:
                launch = Launch(new_id(VM), image, resources)
                stack.push_async_callback(driver.delete, launch.vm_id)
                if origin.snapshot is None:
                    handle = await driver.start(launch)
                else:
                    handle = await driver.restore(launch, *origin.snapshot)
                vm = await connected(driver, handle)
                stack.push_async_callback(vm.guest.close)
                return vm

            yield make

    @pytest.fixture
    async def vm(self, make_vm: MakeVM) -> RunningVM:
        return await make_vm()


def process_of(handle: VMHandle) -> int:
    """The pid of the VM's main process, which every driver of processes has in its handle."""
    pid = handle.data["pid"]
    assert isinstance(pid, int)
    return pid


def processes_in(directory: Path) -> list[int]:
    """Pids of all processes whose working directory is, or was, below `directory`."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            cwd = str((entry / "cwd").readlink()).removesuffix(" (deleted)")
        except OSError:
            continue  # it has ended
        if Path(cwd).is_relative_to(directory):
            found.append(int(entry.name))
    return found


def names(directory: Path) -> set[str]:
    """What is in a directory, the driver's cache left aside; nothing if there is none."""
    return {entry.name for entry in directory.glob("*")} - {".cache"}


def sockets_below(directory: Path) -> list[str]:
    """Listening or connected Unix sockets that have a name below `directory`."""
    lines = Path("/proc/net/unix").read_text().splitlines()
    return [line for line in lines if str(directory) in line]


async def ended(driver: VMDriver, handle: VMHandle, within_s: float) -> Inspection:
    """What `wait` says, which must say it within that time."""
    async with asyncio.timeout(within_s):
        return await driver.wait(handle)


async def condition(driver: VMDriver, handle: VMHandle) -> Condition:
    """What `inspect` says."""
    return (await driver.inspect(handle)).condition


async def silent(vm: RunningVM, for_s: float) -> bool:
    """Whether its agent does not answer."""
    try:
        async with asyncio.timeout(for_s):
            await vm.guest.ping()
    except (TimeoutError, ChannelClosed):
        return True
    return False
