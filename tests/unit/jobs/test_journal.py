"""The journal of a job: order, limits, masking, and readers."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from aetherium.domain.errors import Unavailable
from aetherium.domain.jobs import JobEvent
from aetherium.interfaces.clock import SystemClock
from aetherium.services.job_journal import EVENTS, FileJournal, parse_events
from aetherium.services.masking import patterns


def journal(path: Path, limit: int = 1 << 20, *secrets: str) -> FileJournal:
    return FileJournal(path / "job", SystemClock(), limit, patterns(secrets))


async def everything(path: Path, offset: int = 0) -> list[JobEvent]:
    try:
        data = (path / "job" / EVENTS).read_bytes()
    except FileNotFoundError:
        return []
    found, end = parse_events(data[offset:], offset)
    assert end == data.rfind(b"\n") + 1
    return list(found)


async def test_events_come_back_in_order(tmp_path: Path) -> None:
    made = journal(tmp_path)
    async with made.writing():
        for number in range(500):
            made.emit("phase", name=f"p{number}", nested={"a": [1, None, True]})
            made.output("s", "stdout", f"line {number} \u2028 \x00 ö\n")
            if number % 50 == 0:
                await made.flush()
    found = await everything(tmp_path)
    assert [event.seq for event in found] == list(range(1, 1001))
    assert found[2].data == {"name": "p1", "nested": {"a": [1, None, True]}}
    assert (tmp_path / "job" / "logs" / "01-s.log").read_text().count("\n") == 500


async def test_a_secret_in_anything_is_masked(tmp_path: Path) -> None:
    made = journal(tmp_path, 1 << 20, "hunter2hunter2")
    async with made.writing():
        made.emit(
            "warning", message="it was hunter2hunter2", list=["hunter2hunter2"], deep={"a": "hunter2hunter2"}
        )
    assert b"hunter2" not in (tmp_path / "job" / "events.ndjson").read_bytes()


async def test_the_limit_is_kept_and_told_once(tmp_path: Path) -> None:
    made = journal(tmp_path, 100_000)
    async with made.writing():
        for _ in range(1000):
            made.output("s", "stdout", "x" * 1000)
            await made.room()
        made.emit("finished", state="failed")
    found = await everything(tmp_path)
    assert [event.kind for event in found if event.kind != "output"] == ["warning", "finished"]
    assert (tmp_path / "job" / "events.ndjson").stat().st_size < 110_000
    assert (tmp_path / "job" / "logs" / "01-s.log").stat().st_size < 110_000


async def test_endless_events_are_limited_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aetherium.services.job_journal._MOST_OTHERS", 10)
    made = journal(tmp_path)
    async with made.writing():
        for _ in range(1000):
            made.emit("warning", message="again")
        made.emit("finished", state="failed")
    assert [event.kind for event in await everything(tmp_path)] == ["warning"] * 10 + ["finished"]


async def test_a_reader_waits_for_more(tmp_path: Path) -> None:
    made = journal(tmp_path)
    async with made.writing():
        waiting = asyncio.ensure_future(made.beyond(0))
        await asyncio.sleep(0)
        assert not waiting.done()
        made.emit("phase", name="x")
        await asyncio.wait_for(waiting, 5)
        assert len(await everything(tmp_path)) == 1


async def test_a_torn_line_is_not_read(tmp_path: Path) -> None:
    made = journal(tmp_path)
    async with made.writing():
        made.emit("phase", name="whole")
    with (tmp_path / "job" / "events.ndjson").open("ab") as file:
        file.write(b'{"seq":2,"at":')
    assert len(await everything(tmp_path)) == 1


async def test_a_disk_that_takes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = journal(tmp_path)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    async with made.writing():
        monkeypatch.setattr(os, "write", full)
        made.emit("phase", name="x")
        await made.flush()
        monkeypatch.undo()
        with pytest.raises(Unavailable, match="No space left"):
            await made.room()
