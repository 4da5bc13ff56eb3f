"""The guest contract over sockets, with the agent as an ordinary process of this host."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from aetherium.domain.guest import GuestEndpoint, HybridVsockEndpoint, TcpEndpoint, UnixEndpoint
from tests.contract.guest.agents import hybrid_vsock, running_agent
from tests.contract.guest.contract import GuestContract


@pytest.fixture(scope="module")
async def unix_agent(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Path]:
    directory = tmp_path_factory.mktemp("unix")
    async with running_agent(f"unix:{directory / 'agent'}", directory / "log"):
        yield directory / "agent"


@pytest.fixture(scope="module")
async def tcp_agent(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = int(server.getsockname()[1])
    async with running_agent(f"tcp:127.0.0.1:{port}", tmp_path_factory.mktemp("tcp") / "log"):
        yield port


class TestUnix(GuestContract):
    @pytest.fixture
    def endpoints(self, unix_agent: Path) -> Sequence[GuestEndpoint]:
        return [UnixEndpoint(str(unix_agent))]


class TestTcp(GuestContract):
    @pytest.fixture
    def endpoints(self, tcp_agent: int) -> Sequence[GuestEndpoint]:
        return [TcpEndpoint("127.0.0.1", tcp_agent)]


class TestHybridVsock(GuestContract):
    @pytest.fixture
    async def endpoints(self, unix_agent: Path, tmp_path: Path) -> AsyncIterator[Sequence[GuestEndpoint]]:
        path = str(tmp_path / "vsock")
        async with hybrid_vsock(path, str(unix_agent), 1024):
            yield [HybridVsockEndpoint(path, 1024)]
