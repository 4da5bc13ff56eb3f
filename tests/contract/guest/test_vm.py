"""The guest contract over virtio-serial, with the agent as process 1 of a microVM."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest

from aetherium.channel import ChannelGuest
from aetherium.domain.guest import GuestEndpoint
from aetherium.domain.ids import VM, new_id
from aetherium.drivers.qemu import QemuDriver
from aetherium.interfaces.drivers import Launch
from tests.contract.guest.base import run, sh
from tests.contract.guest.contract import GuestContract
from tests.fixtures.vms import WarmSnapshot, connected


@pytest.fixture(scope="module")
async def vm_endpoints(
    qemu_driver: QemuDriver, warm_snapshot: WarmSnapshot
) -> AsyncIterator[Sequence[GuestEndpoint]]:
    launch = Launch(new_id(VM), warm_snapshot.launch.image, warm_snapshot.launch.resources)
    handle = await qemu_driver.restore(launch, warm_snapshot.data, warm_snapshot.directory)
    try:
        await (await connected(qemu_driver, handle)).guest.close()
        yield await qemu_driver.endpoints(handle)
    finally:
        await qemu_driver.delete(launch.vm_id)


@pytest.mark.vm
class TestVirtioSerial(GuestContract):
    @pytest.fixture
    def endpoints(self, vm_endpoints: Sequence[GuestEndpoint]) -> Sequence[GuestEndpoint]:
        return vm_endpoints

    async def test_users_may_change(self, guest: ChannelGuest) -> None:
        for home in ("/srv/one", "/srv/two"):
            script = (
                f"sed -i /^changing:/d /etc/passwd; echo changing:x:1234:1234::{home}:/bin/sh >>/etc/passwd"
            )
            await run(guest, sh(script))
            result, stdout, _ = await run(guest, sh("echo $HOME", user="changing"))
            assert (result.exit_code, stdout.decode()) == (0, f"{home}\n")
