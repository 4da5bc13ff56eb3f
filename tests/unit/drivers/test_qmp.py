"""The monitor's client against a scripted QEMU."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from aetherium.domain.errors import VMCrashed, VMFailed, VMUnresponsive
from aetherium.drivers.qemu import qmp

Answer = Callable[[dict[str, object]], bytes]


@asynccontextmanager
async def scripted(
    directory: Path, answer: Answer, greeting: bytes = b'{"QMP": {}}\n'
) -> AsyncIterator[None]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        while line := await reader.readline():
            request = json.loads(line)
            writer.write(b'{"return": {}}\n' if request["execute"] == "qmp_capabilities" else answer(request))
        writer.close()

    async with await asyncio.start_unix_server(serve, directory / "qmp.sock"):
        yield


async def test_skips_events_and_reads_answers_in_pieces(tmp_path: Path) -> None:
    def answer(request: dict[str, object]) -> bytes:
        assert request == {"execute": "query-status", "arguments": {}}
        return (
            b'{"event": "RESUME"}\n{"return": {"status": "running", "filler": "' + b"x" * 200_000 + b'"}}\n'
        )

    async with scripted(tmp_path, answer), qmp.monitor(tmp_path, "qmp.sock") as client:
        assert await client.status() == "running"


async def test_a_refusal_says_why(tmp_path: Path) -> None:
    async with (
        scripted(tmp_path, lambda _: b'{"error": {"class": "GenericError", "desc": "no such thing"}}\n'),
        qmp.monitor(tmp_path, "qmp.sock") as client,
    ):
        with pytest.raises(VMFailed, match="stop: no such thing"):
            await client.execute("stop")


async def test_silence_is_unresponsive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qmp, "SILENCE_S", 0.05)
    async with scripted(tmp_path, lambda _: b"", greeting=b""):
        with pytest.raises(VMUnresponsive):
            async with qmp.monitor(tmp_path, "qmp.sock"):
                pass
    async with scripted(tmp_path, lambda _: b""), qmp.monitor(tmp_path, "qmp.sock") as client:
        with pytest.raises(VMUnresponsive):
            await client.execute("stop", timeout_s=0.05)


async def test_nobody_there_is_crashed(tmp_path: Path) -> None:
    with pytest.raises(VMCrashed):
        async with qmp.monitor(tmp_path, "qmp.sock"):
            pass
    with pytest.raises(VMCrashed):
        async with qmp.monitor(tmp_path / "no-directory", "qmp.sock"):
            pass


@pytest.mark.parametrize("greeting", [b"not json\n", b"x" * (qmp.MAX_LINE + 65537), b"[]\n"])
async def test_nonsense_is_an_error_of_ours(tmp_path: Path, greeting: bytes) -> None:
    async with scripted(tmp_path, lambda _: b"", greeting=greeting):
        with pytest.raises(VMFailed):
            async with qmp.monitor(tmp_path, "qmp.sock"):
                pass


async def test_leaves_no_descriptor_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # names are all that is wanted
    for _ in range(3):
        with pytest.raises(VMCrashed):
            async with qmp.monitor(tmp_path, "qmp.sock"):
                pass
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
