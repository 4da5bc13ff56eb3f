"""Listening at a port: where it is allowed, TLS, the first key."""

from __future__ import annotations

import asyncio
import socket
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from aetherium.bootstrap import open_gateway
from aetherium.client.aio import AsyncClient
from aetherium.domain.errors import Conflict, InvalidInput, ProtocolViolation, Unavailable
from aetherium.domain.executions import ExecutionSpec
from aetherium.gateway import tcp
from aetherium.rpc.authority import Kind
from aetherium.rpc.certificates import Certificates
from aetherium.settings import Settings
from tests.fixtures.platform import data_dir, tiny_images
from tests.fixtures.ports import HOST
from tests.integration.gateway.served import served

__all__ = ["data_dir"]


def settings(data_dir: Path, **more: Any) -> Settings:
    return Settings(**{"data_dir": data_dir, "drivers": ("fake",), "pool": (), **more})


def certified(data_dir: Path) -> tuple[Certificates, dict[str, Any]]:
    """A certificate for this host, and the settings that name it."""
    made = Certificates(data_dir / "certs")
    made.init(datetime.now(UTC))
    made.issue("here", Kind.GATEWAY, [HOST, "localhost"], datetime.now(UTC))
    directory = data_dir / "certs"
    return made, {"tls_cert": directory / "here.crt", "tls_key": directory / "here.key"}


@pytest.mark.parametrize("where", ["", "none"])
def test_nowhere_is_a_place(data_dir: Path, where: str) -> None:
    with tcp.listening(settings(data_dir), where) as listener:
        assert listener is None


@pytest.mark.parametrize("where", ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "host.example:0"])
def test_keys_do_not_go_over_the_network_in_plain_text(data_dir: Path, where: str) -> None:
    with pytest.raises(InvalidInput, match="plain text"), tcp.listening(settings(data_dir), where):
        pass


@pytest.mark.parametrize("where", ["7777", "127.0.0.1", "127.0.0.1:http", "127.0.0.1:99999", ":7777"])
def test_an_address_that_is_none_is_explained(data_dir: Path, where: str) -> None:
    with pytest.raises(InvalidInput, match="HOST:PORT"), tcp.listening(settings(data_dir), where):
        pass


def test_behind_a_proxy_it_may_be_plain(data_dir: Path) -> None:
    with tcp.listening(settings(data_dir, listen_plain=True), "0.0.0.0:0") as listener:
        assert listener is not None
        assert listener.url.startswith("http://127.0.0.1:")


def test_loopback_may_have_a_name_and_another_family(data_dir: Path) -> None:
    with tcp.listening(settings(data_dir), "localhost:0") as listener:
        assert listener is not None
        assert listener.url.startswith("http://127.0.0.1:")
    with tcp.listening(settings(data_dir), "[::1]:0") as listener:
        assert listener is not None
        assert listener.url.startswith("http://[::1]:")


def test_a_port_that_is_taken_is_said_with_what_to_do(data_dir: Path) -> None:
    with socket.create_server((HOST, 0)) as taken:
        where = f"{HOST}:{taken.getsockname()[1]}"
        with pytest.raises(Conflict, match="--listen"), tcp.listening(settings(data_dir), where):
            pass


async def test_the_first_start_gives_a_key_and_the_next_does_not(data_dir: Path) -> None:
    await tiny_images(data_dir / "images")
    chosen = settings(data_dir, listen=f"{HOST}:0")
    async with open_gateway(chosen, background=True) as first:
        assert first.first_key not in repr(first)
        async with AsyncClient.http(first.url, api_key=first.first_key) as client:
            assert (await client.whoami()).installation
            await client.api_keys.revoke("first")
    async with open_gateway(chosen, background=True) as second:
        assert (bool(second.url), second.first_key) == (True, "")
    async with open_gateway(settings(data_dir, listen="none"), background=True) as alone:
        assert (alone.url, alone.first_key) == ("", "")


async def test_without_a_port_no_key_is_made(data_dir: Path) -> None:
    await tiny_images(data_dir / "images")
    async with (
        open_gateway(settings(data_dir, listen=""), background=True) as opened,
        AsyncClient.unix(opened.socket) as client,
    ):
        assert await client.api_keys.list() == []


async def test_over_tls_all_works_and_browsers_are_told_to_stay(data_dir: Path) -> None:
    _, files = certified(data_dir)
    authority = data_dir / "certs" / "ca.crt"
    trusting = ssl.create_default_context(cafile=str(authority))
    async with served(data_dir, verify=trusting, **files) as here:
        assert here.url.startswith("https://")
        assert (await here.http.get("/healthz")).headers["strict-transport-security"]
        async with AsyncClient.http(here.url, api_key=await here.key(), ca=authority) as client:
            await client.whoami()
            spec = ExecutionSpec(("cat",), stdin=True)
            await here.local.post("/v1/vms", json={"name": "box"})
            async with client.executions.interactive("box", spec) as session:
                await session.write(b"hello")
                await session.close_stdin()
                assert b"".join([chunk.data async for chunk in session]) == b"hello"


async def test_a_certificate_of_nobody_is_refused_and_not_tried_again(data_dir: Path) -> None:
    _, files = certified(data_dir)
    async with served(data_dir, verify=False, **files) as here:
        async with AsyncClient.http(here.url, api_key="x") as client:
            with pytest.raises(ProtocolViolation, match="tls_ca"):
                await client.whoami()
            with pytest.raises(ProtocolViolation, match="tls_ca"):
                async with client.executions.interactive("box", ExecutionSpec(("cat",), stdin=True)):
                    pass
        plain = here.url.replace("https", "http")
        async with AsyncClient.http(plain, api_key="x", retry=None) as client:
            with pytest.raises((Unavailable, ProtocolViolation, Conflict)) as caught:
                await client.whoami()
            assert plain in str(caught.value)


async def test_a_renewed_certificate_is_taken_without_a_restart(data_dir: Path) -> None:
    made, files = certified(data_dir)
    context = ssl.create_default_context(cafile=str(data_dir / "certs" / "ca.crt"))
    async with served(data_dir, verify=context, **files) as here:
        before = await _serial(here.address, context)
        made.renew("here", datetime.now(UTC))
        renewed = await _serial(here.address, context)
        assert renewed != before
        files["tls_cert"].write_text("nonsense")
        assert await _serial(here.address, context) == renewed


async def _serial(address: tuple[str, int], context: ssl.SSLContext) -> object:
    _, writer = await asyncio.open_connection(*address, ssl=context)
    try:
        return writer.get_extra_info("peercert")["serialNumber"]
    finally:
        writer.close()


@pytest.mark.parametrize("given", ["tls_cert", "tls_key"])
def test_half_of_a_certificate_is_none(data_dir: Path, given: str) -> None:
    _, files = certified(data_dir)
    with (
        pytest.raises(InvalidInput, match="not complete"),
        tcp.listening(settings(data_dir, **{given: files[given]}), f"{HOST}:0"),
    ):
        pass


def test_a_certificate_that_cannot_be_read_is_explained(data_dir: Path) -> None:
    _, files = certified(data_dir)
    for broken in ({**files, "tls_cert": data_dir / "none"}, {**files, "tls_key": files["tls_cert"]}):
        with (
            pytest.raises(InvalidInput, match="cannot be used"),
            tcp.listening(settings(data_dir, **broken), f"{HOST}:0"),
        ):
            pass


async def test_where_nobody_listens_is_said_with_what_to_do(data_dir: Path) -> None:
    with socket.create_server((HOST, 0)) as free:
        port = free.getsockname()[1]
    async with AsyncClient.http(f"http://{HOST}:{port}", api_key="x", retry=None) as client:
        with pytest.raises(Unavailable, match="aetherium up"):
            await client.whoami()


@pytest.mark.parametrize("url", ["", "127.0.0.1:7777", "ftp://host", "https://", "https://host?a=b"])
def test_a_url_that_is_none_is_explained(url: str) -> None:
    with pytest.raises(InvalidInput, match="https://HOST"):
        AsyncClient.http(url, api_key="x")
