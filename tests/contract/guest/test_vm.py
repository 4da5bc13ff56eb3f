"""The guest contract over virtio-serial, with the agent as process 1 of a real microVM."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest

from aetherium.domain.guest import GuestEndpoint
from aetherium.domain.ids import VM, new_id
from aetherium.drivers.qemu import QemuDriver
from aetherium.interfaces.drivers import Launch
from tests.contract.guest.contract import GuestContract
from tests.fixtures.vms import RESOURCES, WarmSnapshot, connected


@pytest.fixture(scope="module")
async def ports(
    qemu_driver: QemuDriver, warm_snapshot: WarmSnapshot
) -> AsyncIterator[Sequence[GuestEndpoint]]:
    """The ports of one VM, which all tests of this module share."""
    launch = Launch(new_id(VM), warm_snapshot.launch.image, RESOURCES)
    try:
        handle = await qemu_driver.restore(launch, warm_snapshot.data, warm_snapshot.directory)
        vm = await connected(qemu_driver, handle)
        await vm.guest.close()
        yield await qemu_driver.endpoints(handle)
    finally:
        await qemu_driver.delete(launch.vm_id)


@pytest.mark.vm
class TestVirtioSerial(GuestContract):
    @pytest.fixture
    def endpoints(self, ports: Sequence[GuestEndpoint]) -> Sequence[GuestEndpoint]:
        return ports
