"""Identity and power: for an agent that has a machine to itself."""

from __future__ import annotations

import os
import time

from aetherium.channel import ChannelGuest
from aetherium.domain.guest import GuestIdentity
from tests.contract.guest.base import ContractBase, refused, run, sh


class IdentityContract(ContractBase):
    async def test_identity(self, guest: ChannelGuest) -> None:
        machine_id = os.urandom(16).hex()
        identity = GuestIdentity("contract-7", machine_id, os.urandom(32), time.time_ns())
        if "init" not in guest.info.capabilities:
            with refused("EPERM"):
                await guest.identify(identity)
            return
        await guest.identify(identity)
        _, stdout, _ = await run(guest, sh("hostname; cat /etc/machine-id /etc/hostname; date +%s"))
        name, found, file, seconds = stdout.decode().split()
        assert (name, found, file) == ("contract-7", machine_id, "contract-7")
        assert abs(int(seconds) - time.time()) < 30

    async def test_malformed_identity(self, guest: ChannelGuest) -> None:
        expected = "EINVAL" if "init" in guest.info.capabilities else "EPERM"
        good = os.urandom(16).hex()
        for hostname, machine_id, seed in (
            ("", good, bytes(32)),
            ("a/b", good, bytes(32)),
            ("x" * 64, good, bytes(32)),
            ("x", "short", bytes(32)),
            ("x", good, bytes(8)),
        ):
            with refused(expected):
                await guest.identify(GuestIdentity(hostname, machine_id, seed, time.time_ns()))
