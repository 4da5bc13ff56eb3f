"""From endpoints to a connection that has been answered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aetherium.channel.connection import Connection, connect
from aetherium.channel.transports import open_transport
from aetherium.domain.errors import ChannelClosed, VMUnresponsive
from aetherium.domain.guest import GuestEndpoint, GuestInfo

# Between two rounds over all endpoints: the socket of a VM that is starting appears at any moment.
PAUSE_S = 0.01
LONGEST_PAUSE_S = 0.1
# A far side that does not exist has this long to appear to a guest that was connected before.
GONE_S = 0.25


async def dial(
    endpoints: Sequence[GuestEndpoint], *, timeout_s: float, patient: bool
) -> tuple[Connection, GuestInfo]:
    """Connect to the first of `endpoints` that is free and answers.

    Args:
        patient: wait for endpoints that are not there yet (a VM that is booting); otherwise an endpoint that
            refuses means that the VM has ended.

    Raises:
        VMUnresponsive: none answered within `timeout_s`, and `patient`.
        ChannelClosed: the same, and not `patient`.
    """
    loop = asyncio.get_running_loop()
    begin = loop.time()
    reason = "no endpoint was given"
    pause = PAUSE_S
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                absent = 0
                for endpoint in endpoints:
                    try:
                        return await _try(endpoint)
                    except OSError as error:
                        reason = f"{endpoint}: {error.strerror or error}"
                        absent += isinstance(error, ConnectionRefusedError | FileNotFoundError)
                    except ChannelClosed as error:
                        reason = f"{endpoint}: {error.message}"
                if not patient and absent == len(endpoints) and loop.time() - begin > GONE_S:
                    break
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, LONGEST_PAUSE_S)
    except TimeoutError:
        reason = f"no answer within {timeout_s:g} seconds ({reason})"
    if patient:
        raise VMUnresponsive(
            f"The agent cannot be reached: {reason}.", hint="See the VM's console log for what it did."
        )
    raise ChannelClosed(f"The connection to the guest was lost and cannot be made again: {reason}.")


async def _try(endpoint: GuestEndpoint) -> tuple[Connection, GuestInfo]:
    """Connect and greet; waits for the answer as long as the connection holds."""
    connection = await connect(await open_transport(endpoint))
    try:
        return connection, await connection.handshake()
    except BaseException:
        connection.close()
        raise
