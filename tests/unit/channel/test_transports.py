"""Endpoints that serve one client at a time, and far sides that are not there."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from aetherium.channel import Connector
from aetherium.channel.transports import EndpointBusy, open_transport
from aetherium.domain.errors import VMUnresponsive
from aetherium.domain.guest import HybridVsockEndpoint, UnixEndpoint
from tests.unit.channel.agents import Peer, scripted


async def _greet(peer: Peer) -> None:
    await peer.greet()
    await peer.hold()


async def test_exclusive_endpoints_are_taken_in_turn(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    async with scripted(tmp_path / "a", _greet) as first, scripted(tmp_path / "b", _greet) as second:
        ports = [UnixEndpoint(each.path, exclusive=True) for each in (first, second)]
        one = await Connector().connect(ports, timeout_s=5)
        two = await Connector().connect(ports, timeout_s=5)
        for port in ports:
            with pytest.raises(EndpointBusy):
                await open_transport(port)
        with pytest.raises(VMUnresponsive, match="held by another client"):
            await Connector().connect(ports, timeout_s=0.1)
        await one.close()
        three = await Connector().connect(ports, timeout_s=5)
        await two.close()
        await three.close()


async def test_waits_for_an_endpoint_to_appear(tmp_path: Path) -> None:
    async with asyncio.TaskGroup() as group:
        connecting = group.create_task(
            Connector().connect([UnixEndpoint(str(tmp_path / "agent"))], timeout_s=5)
        )
        await asyncio.sleep(0)
        async with scripted(tmp_path, _greet):
            await (await connecting).close()


async def test_no_endpoints() -> None:
    with pytest.raises(VMUnresponsive, match="no endpoint was given"):
        await Connector().connect([], timeout_s=0.1)


@pytest.mark.parametrize("answer", [b"", b"NO\n", b"OK" * 100, b"\n"])
async def test_vsock_proxy_that_refuses(tmp_path: Path, answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readline() == b"CONNECT 52\n"
        writer.write(answer)
        writer.close()

    path = str(tmp_path / "vsock")
    async with await asyncio.start_unix_server(serve, path):
        with pytest.raises(VMUnresponsive, match="vsock port 52"):
            await Connector().connect([HybridVsockEndpoint(path, 52)], timeout_s=0.2)
