"""The GuestConnector of interfaces/guest.py."""

from __future__ import annotations

from collections.abc import Sequence

from aetherium.channel.dialing import dial
from aetherium.channel.guest import ChannelGuest
from aetherium.domain.guest import GuestEndpoint
from aetherium.interfaces.guest import Guest, GuestConnector


class Connector:
    """Opens connections to agents."""

    async def connect(self, endpoints: Sequence[GuestEndpoint], *, timeout_s: float) -> ChannelGuest:
        """Connect to the first of `endpoints` that is free and answers the handshake; waits for a VM that is
        booting. Raises VMUnresponsive when none does within `timeout_s`."""
        connection, info = await dial(endpoints, timeout_s=timeout_s, patient=True)
        return ChannelGuest(endpoints, connection, info)


_: type[GuestConnector] = Connector
__: type[Guest] = ChannelGuest
