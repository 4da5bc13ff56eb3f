"""The agent as a process: what it imports, where it listens, how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import sys
from contextlib import suppress
from pathlib import Path

import pytest

import aetherium
from aetherium.channel import ChannelGuest, Connector
from aetherium.domain.executions import ExecutionSpec
from aetherium.domain.guest import UnixEndpoint
from aetherium.process import run, spawned

SOURCE = Path(aetherium.__file__).parents[1]
# Each costs more under emulation than the agent as a whole.
DEAR = {"asyncio", "ctypes", "dataclasses", "enum", "fcntl", "json", "re", "resource", "signal", "socket"}
DEAR |= {"subprocess", "tarfile", "tempfile", "threading", "traceback", "typing", "warnings"}
AGENT = [sys.executable, "-m", "aetherium.guest", "--listen"]


async def _modules(statements: str) -> set[str]:
    code = f"import sys; sys.path.insert(0, {str(SOURCE)!r}); {statements}; print(*sys.modules)"
    return set((await run([sys.executable, "-I", "-S", "-c", code])).stdout.decode().split())


async def test_imports_almost_nothing() -> None:
    found = await _modules("import aetherium.guest.__main__, aetherium.guest.ports, aetherium.guest.users")
    assert not found & DEAR
    assert len(found - await _modules("pass")) < 40


async def test_sees_only_itself_and_the_codec() -> None:
    modules = ",".join(
        f"aetherium.guest.{path.stem}"
        for path in (SOURCE / "aetherium/guest").glob("*.py")
        if path.stem != "__init__"
    )
    ours = {name for name in await _modules(f"import {modules}") if name.startswith("aetherium.")}
    assert {name.split(".")[1] for name in ours} == {"guest", "protocol"}
    assert "aetherium.protocol.values" not in ours


async def _guest(path: Path) -> ChannelGuest:
    return await Connector().connect([UnixEndpoint(str(path))], timeout_s=20)


async def _gone(pid: int) -> None:
    """Wait until there is no such process; the caller sets the deadline."""
    with suppress(ProcessLookupError):
        while True:
            os.kill(pid, 0)
            await asyncio.sleep(0)


async def test_socket_is_private_and_goes_away(tmp_path: Path) -> None:
    path = tmp_path / "agent"
    async with asyncio.timeout(30), spawned([*AGENT, f"unix:{path}"]) as agent:
        guest = await _guest(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        pid = await guest.start("x", ExecutionSpec(("sleep", "1000")))
        agent.send_signal(signal.SIGTERM)
        assert await agent.wait() == 0
        await guest.close()
        assert not path.exists()
        await _gone(pid)


async def test_power_off_ends_an_ordinary_process(tmp_path: Path) -> None:
    path = tmp_path / "agent"
    async with asyncio.timeout(30), spawned([*AGENT, f"unix:{path}"]) as agent:
        guest = await _guest(path)
        async with guest.launch("x", ExecutionSpec(("sleep", "1000"))) as attachment:
            await guest.power_off()
            assert (await attachment.result()).signal == signal.SIGTERM
        await guest.close()
        assert await agent.wait() == 0


async def test_long_paths(tmp_path: Path) -> None:
    directory = tmp_path / ("d" * 100) / ("e" * 100)
    directory.mkdir(parents=True)
    async with asyncio.timeout(30), spawned([*AGENT, f"unix:{directory / 'agent'}"]):
        guest = await _guest(directory / "agent")
        assert await guest.ping() > 0
        await guest.close()


async def test_a_stale_socket_is_replaced_and_a_file_is_not(tmp_path: Path) -> None:
    path = tmp_path / "agent"
    async with asyncio.timeout(30):
        async with spawned([*AGENT, f"unix:{path}"]) as agent:
            await (await _guest(path)).close()
            agent.kill()
            await agent.wait()
        assert path.exists()
        async with spawned([*AGENT, f"unix:{path}"]):
            await (await _guest(path)).close()
        file = tmp_path / "file"
        file.write_text("precious", encoding="utf-8")
        result = await run([*AGENT, f"unix:{file}"], check=False)
        assert result.exit_code == 1
        assert b"something else than a socket" in result.stderr
        assert file.read_text(encoding="utf-8") == "precious"


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ([], 2, b"no place to listen at"),
        (["--listen"], 2, b"'--listen'"),
        (["--lsten", "unix:x"], 2, b"'--lsten'"),
        (["--listen", "carrier-pigeon:x"], 1, b"unknown transport 'carrier-pigeon'"),
        (["--listen", "tcp:127.0.0.1:http"], 1, b"'http' is no port"),
        (["--listen", "tcp:127.0.0.1:99999"], 1, b"'99999' is no port"),
        (["--listen", "unix:/no/such/place/agent"], 1, b"/no/such/place"),
        (["--listen", "virtio:no.such.port"], 1, b"no virtio port named no.such.port"),
    ],
)
async def test_wrong_options(options: list[str], code: int, message: bytes) -> None:
    result = await run([sys.executable, "-m", "aetherium.guest", *options], check=False)
    assert result.exit_code == code
    assert message in result.stderr
    assert b"Traceback" not in result.stderr
