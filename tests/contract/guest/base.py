"""What all parts of the guest contract share: fixtures that subclasses override, and small helpers."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest

from aetherium.channel import ChannelGuest, Connector
from aetherium.channel.attachments import GuestAttachment
from aetherium.domain.errors import GuestError
from aetherium.domain.executions import ExecutionResult, ExecutionSpec
from aetherium.domain.guest import GuestEndpoint

DEADLINE_S = 60.0  # a guest without hardware virtualisation is up to fifty times slower

Connect = Callable[[], Awaitable[ChannelGuest]]


class ContractBase:
    """Override `endpoints`: where a running agent is reached."""

    @pytest.fixture
    def endpoints(self) -> Sequence[GuestEndpoint]:
        raise NotImplementedError

    @pytest.fixture
    async def connect(self, endpoints: Sequence[GuestEndpoint]) -> AsyncIterator[Connect]:
        """Makes clients of their own, closed at the end."""
        async with AsyncExitStack() as stack:

            async def make() -> ChannelGuest:
                guest = await Connector().connect(endpoints, timeout_s=DEADLINE_S)
                stack.push_async_callback(guest.close)
                return guest

            yield make

    @pytest.fixture
    async def guest(self, connect: Connect) -> ChannelGuest:
        return await connect()

    @pytest.fixture
    async def workdir(self, guest: ChannelGuest) -> AsyncIterator[str]:
        """An empty directory in the guest that everybody may use."""
        path = f"/tmp/contract-{secrets.token_hex(6)}"
        await guest.mkdir(path, mode=0o777)
        yield path
        await guest.remove(path, recursive=True)


def unique() -> str:
    """An execution id that was never used."""
    return f"x-{secrets.token_hex(8)}"


def sh(script: str, **options: Any) -> ExecutionSpec:
    """A shell script as a command."""
    return ExecutionSpec(("sh", "-c", script), **options)


async def run(
    guest: ChannelGuest, spec: ExecutionSpec, stdin: bytes = b""
) -> tuple[ExecutionResult, bytes, bytes]:
    """Run to the end, within the deadline."""
    async with asyncio.timeout(DEADLINE_S):
        return await guest.run(unique(), spec, stdin=stdin)


async def output_until(attachment: GuestAttachment, wanted: bytes) -> bytes:
    """Read output until `wanted` is in it."""
    seen = b""
    async with asyncio.timeout(DEADLINE_S):
        async for chunk in attachment:
            seen += chunk.data
            if wanted in seen:
                return seen
    raise AssertionError(f"the output ended without {wanted!r}: {seen!r}")


def refused(errno: str) -> pytest.RaisesExc[GuestError]:
    """A block that must raise GuestError for this cause."""
    return pytest.RaisesExc(GuestError, check=lambda error: error.details["errno"] == errno)
