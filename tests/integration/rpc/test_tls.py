"""TLS between gateway and worker: who is let in, who is not, and what is said to them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
from grpc.aio import AioRpcError, insecure_channel, secure_channel
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub

from aetherium.domain.errors import InvalidInput, Unavailable
from aetherium.gateway.remote.channels import Channels
from aetherium.protocol.generated import worker_pb2 as pb
from aetherium.rpc.authority import Kind
from aetherium.rpc.tls import Identity
from aetherium.services.job_files import LocalJobFiles
from aetherium.worker.grpc.server import serve_worker
from tests.fixtures.certificates import Authority, authority
from tests.fixtures.platform import fake_platform
from tests.fixtures.ports import HOST
from tests.integration.rpc.conftest import TOKEN

__all__ = ["authority"]

# So long a refused connection is tried again before it is told.
_PATIENCE_S = 0.5


@asynccontextmanager
async def _worker(
    data_dir: Path, identity: Identity | None, address: str = f"{HOST}:0"
) -> AsyncIterator[str]:
    async with (
        fake_platform(data_dir, background=False) as platform,
        serve_worker(platform, LocalJobFiles(data_dir / "jobs"), address, TOKEN, identity) as bound,
    ):
        yield bound


async def _call(address: str, identity: Identity | None, timeout_s: float = 10.0) -> None:
    """A call that gets through to the service, which knows no such execution."""
    request = pb.GetExecutionRequest(execution_id="ex_0000000000000000")
    async with Channels(TOKEN, identity) as channels, channels.use(address) as link:
        assert await link.ready(timeout_s)
        await link.unary(lambda stub: stub.GetExecution, request)


async def _let_in(address: str, identity: Identity | None) -> None:
    with pytest.raises(Exception, match="There is no execution"):
        await _call(address, identity)


async def test_a_gateway_and_another_worker_are_let_in(data_dir: Path, authority: Authority) -> None:
    async with _worker(data_dir, authority.identity("w", Kind.WORKER)) as address:
        await _let_in(address, authority.identity("g", Kind.GATEWAY, ()))
        await _let_in(address, authority.identity("w2", Kind.WORKER, ("elsewhere",)))


async def test_the_token_is_asked_for_as_well(data_dir: Path, authority: Authority) -> None:
    gateway = authority.identity("g", Kind.GATEWAY)
    async with (
        _worker(data_dir, authority.identity("w", Kind.WORKER)) as address,
        Channels("another-token-that-is-long-enough", gateway) as channels,
        channels.use(address) as link,
    ):
        assert await link.ready(10.0)
        with pytest.raises(Unavailable, match="token"):
            await link.unary(lambda stub: stub.GetMetrics, pb.GetMetricsRequest())


async def test_a_clients_certificate_is_not_enough(data_dir: Path, authority: Authority) -> None:
    async with _worker(data_dir, authority.identity("w", Kind.WORKER)) as address:
        with pytest.raises(Unavailable, match="of a client; it has to be of a gateway or worker"):
            await _call(address, authority.identity("c", Kind.CLIENT))


async def test_a_gateway_that_the_worker_does_not_trust_is_told(
    data_dir: Path, authority: Authority, tmp_path: Path
) -> None:
    other = Authority(tmp_path / "other")
    async with _worker(data_dir, authority.identity("w", Kind.WORKER)) as address:
        for refused in (
            other.identity("g", Kind.GATEWAY, trusts=authority),
            authority.identity("old", Kind.GATEWAY, ago_days=3),
        ):
            with pytest.raises(Unavailable, match="refuses this gateway's certificate"):
                await _call(address, refused, _PATIENCE_S)


async def test_a_worker_that_the_gateway_does_not_trust_is_named(
    data_dir: Path, authority: Authority, tmp_path: Path
) -> None:
    other = Authority(tmp_path / "other")
    gateway = authority.identity("g", Kind.GATEWAY)
    for name, identity, reason in (
        ("others", other.identity("w", Kind.WORKER), "unable to get local issuer"),
        ("expired", authority.identity("old", Kind.WORKER, ago_days=3), "certificate has expired"),
        ("elsewhere", authority.identity("far", Kind.WORKER, ("far.example",)), "Hostname Verification"),
    ):
        async with _worker(data_dir / name, identity) as address:
            with pytest.raises(Unavailable, match=f"{address}.*{reason}"):
                await _call(address, gateway, _PATIENCE_S)


async def test_without_a_certificate_there_is_no_connection(data_dir: Path, authority: Authority) -> None:
    trusting = grpc.ssl_channel_credentials((authority.directory / "ca.crt").read_bytes())
    async with _worker(data_dir, authority.identity("w", Kind.WORKER)) as address:
        for channel in (secure_channel(address, trusting), insecure_channel(address)):
            async with channel:
                with pytest.raises(AioRpcError) as caught:
                    await HealthStub(channel).Check(HealthCheckRequest(), timeout=10)
                assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_renewed_certificate_needs_no_restart(data_dir: Path, authority: Authority) -> None:
    worker = authority.identity("w", Kind.WORKER, ago_days=3)
    gateway = authority.identity("g", Kind.GATEWAY, ago_days=3)
    async with (
        _worker(data_dir, worker) as address,
        Channels(TOKEN, gateway) as channels,
    ):
        async with channels.use(address) as link:
            with pytest.raises(Unavailable, match="expired"):
                await link.ready(_PATIENCE_S)
        for name in ("w", "g"):
            authority.certificates.renew(name, datetime.now(UTC))
        async with channels.use(address) as link:
            assert await link.ready(10.0)


async def test_files_that_do_not_go_together_change_nothing(authority: Authority) -> None:
    identity = authority.identity("w", Kind.WORKER)
    key = authority.directory / "w.key"
    right = key.read_bytes()
    key.write_bytes((authority.directory / "ca.key").read_bytes())
    identity.refresh()
    assert identity.version == 0
    key.write_bytes(right)
    identity.refresh()
    assert identity.version == 1


async def test_a_unix_socket_needs_no_certificate(data_dir: Path, authority: Authority) -> None:
    socket = f"unix:{data_dir}/w.sock"
    async with _worker(data_dir, authority.identity("w", Kind.WORKER), socket) as address:
        await _let_in(address, authority.identity("g", Kind.GATEWAY))
        await _let_in(address, None)


async def test_nothing_goes_over_a_network_in_the_clear(data_dir: Path) -> None:
    with pytest.raises(InvalidInput, match="nothing would be encrypted") as caught:
        async with _worker(data_dir, None, "0.0.0.0:0"):
            pass
    assert "aetherium certs" in caught.value.hint
    async with Channels(TOKEN) as channels:
        with pytest.raises(Unavailable, match="no certificate"):
            async with channels.use("192.0.2.1:1"):
                pass


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda d: (d / "w.crt").unlink(), r"w\.crt"),
        (lambda d: (d / "w.crt").write_text("x"), r"w\.crt holds no certificate"),
        (lambda d: (d / "w.key").write_text("x"), r"w\.key holds no key"),
        (lambda d: (d / "w.key").write_bytes((d / "ca.key").read_bytes()), "not that of the certificate"),
        (lambda d: (d / "ca.crt").write_text("x"), r"ca\.crt holds no certificate"),
    ],
)
def test_files_that_cannot_be_used_are_named(authority: Authority, change: object, match: str) -> None:
    authority.identity("w", Kind.WORKER)
    assert callable(change)
    change(authority.directory)
    with pytest.raises(InvalidInput, match=match):
        Identity(*(authority.directory / name for name in ("w.crt", "w.key", "ca.crt")))
