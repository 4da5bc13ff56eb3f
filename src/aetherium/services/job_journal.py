"""What happens in a job, as lines of JSON: durable, to be resumed from any event, and limited in size.

The file is the only buffer: whoever follows a job reads it, at their own pace, so that slow readers cost no
memory and never hold the job up.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

from aetherium.domain.errors import AetheriumError, Unavailable
from aetherium.domain.jobs import Job, JobEvent
from aetherium.interfaces.clock import Clock
from aetherium.interfaces.finishing import finish
from aetherium.interfaces.jobs import JobJournal
from aetherium.services.masking import masked, patterns

EVENTS = "events.ndjson"
FINISHED = "finished"
# Output that waits to be written before whoever brings it has to wait.
_PENDING = 1 << 20
_TEXT = 32 * 1024
# What is not output is little; a guest that makes much of it anyway gets no further.
_MOST_OTHERS = 100_000


class FileJournal:
    """The journal of one job while it is carried out; see interfaces/jobs.py.

    Args:
        directory: the job's, made here.
        limit: bytes of the journal, and again of all step logs together.
        forms: what is masked in everything that is not output; see masking.py.
        seq: events are numbered from the next number on.
    """

    def __init__(
        self, directory: Path, clock: Clock, limit: int, forms: tuple[bytes, ...] = (), *, seq: int = 0
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._left = limit
        self._others = _MOST_OTHERS
        self._forms = forms
        self._seq = seq
        self._pending: list[tuple[str, bytes]] = []
        self._waiting = 0
        self._dirty = asyncio.Event()
        self._written = asyncio.Event()
        self._size = 0
        self._files: dict[str, int] = {}
        self._logs: dict[str, str] = {}
        self._failure: AetheriumError | None = None
        self._lock = asyncio.Lock()

    @property
    def directory(self) -> Path:
        return self._directory

    def mask(self, values: Iterable[str]) -> None:
        """See JobJournal."""
        self._forms = (*self._forms, *patterns(values))

    def emit(self, kind: str, **data: object) -> None:
        """See JobJournal."""
        self._others -= 1
        if self._others >= 0 or kind == FINISHED:
            self._put(kind, {key: self._masked(value) for key, value in data.items()})

    def output(self, step: str, stream: str, text: str) -> None:
        """See JobJournal."""
        for at in range(0, len(text), _TEXT):
            if self._left <= 0:
                return
            piece = text[at : at + _TEXT]
            self._left -= self._put("output", {"step": step, "stream": stream, "text": piece})
            self._append(self._log(step), piece.encode())
            if self._left <= 0:
                self.emit(
                    "warning",
                    step=step,
                    message="The job has written more than its log may hold: further output is dropped.",
                )

    def log(self, step: str) -> str:
        """Where the output of a step is, relative to the job's directory."""
        return self._log(step)

    async def room(self) -> None:
        """See JobJournal."""
        while self._waiting > _PENDING and self._failure is None:
            self._written.clear()
            await self._written.wait()
        if self._failure is not None:
            raise self._failure

    async def beyond(self, size: int) -> int:
        """Wait until more than `size` bytes of events were written; how many these are."""
        while self._size <= size:
            self._written.clear()
            await self._written.wait()
        return self._size

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Write in the background for the time of the block; at its end all is written."""
        await asyncio.to_thread(_make, self._directory)
        writer = asyncio.ensure_future(self._write_all())
        try:
            yield
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            await finish(self._flush())
            for fd in self._files.values():
                os.close(fd)
            self._files.clear()

    async def flush(self) -> None:
        """Write what waits."""
        await finish(self._flush())

    async def _write_all(self) -> None:
        while True:
            await self._dirty.wait()
            await finish(self._flush())

    async def _flush(self) -> None:
        async with self._lock:
            self._dirty.clear()
            batch, self._pending = self._pending, []
            try:
                if batch and self._failure is None:
                    self._size += await asyncio.to_thread(self._write, batch)
            except OSError as error:
                self._failure = Unavailable(
                    f"The job's journal cannot be written: {error.strerror}.", hint="Is the disk full?"
                )
            finally:
                self._waiting -= sum(len(data) for _, data in batch)
                self._written.set()

    def _write(self, batch: Sequence[tuple[str, bytes]]) -> int:
        """Append to the files; how many bytes of events these were."""
        grouped: dict[str, list[bytes]] = {}
        for name, data in batch:
            grouped.setdefault(name, []).append(data)
        for name, pieces in grouped.items():
            if name not in self._files:
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
                self._files[name] = os.open(self._directory / name, flags, 0o600)
            view = memoryview(b"".join(pieces))
            while view:
                view = view[os.write(self._files[name], view) :]
        return sum(len(data) for data in grouped.get(EVENTS, ()))

    def _put(self, kind: str, data: dict[str, object]) -> int:
        self._seq += 1
        line = encode(JobEvent(self._seq, self._clock.now(), kind, data))
        self._append(EVENTS, line)
        return len(line)

    def _append(self, name: str, data: bytes) -> None:
        if self._failure is None:
            self._pending.append((name, data))
            self._waiting += len(data)
            self._dirty.set()

    def _log(self, step: str) -> str:
        if step not in self._logs:
            words = re.sub(r"[^A-Za-z0-9._]+", "-", step).strip("-.")[:60] or "step"
            self._logs[step] = f"logs/{len(self._logs) + 1:02}-{words}.log"
        return self._logs[step]

    def _masked(self, value: object) -> object:
        if isinstance(value, str):
            raw = value.encode(errors="replace")
            return masked(self._forms, raw).decode(errors="replace") if self._forms else raw.decode()
        if isinstance(value, list | tuple):
            return [self._masked(item) for item in value]
        if isinstance(value, dict):
            return {key: self._masked(item) for key, item in value.items()}
        return value


def encode(event: JobEvent) -> bytes:
    """One line."""
    value = {"seq": event.seq, "at": event.at.isoformat(), "kind": event.kind, "data": event.data}
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace") + b"\n"


def parse_events(data: bytes, offset: int) -> tuple[Sequence[JobEvent], int]:
    """The whole events in what was read from a place in the file on, and the place behind them."""
    whole = data[: data.rfind(b"\n") + 1]
    return [_decode(line) for line in whole.splitlines()], offset + len(whole)


def finished(job: Job) -> dict[str, object]:
    """The data of a job's last event."""
    return {
        "state": str(job.state),
        "exit_code": job.exit_code,
        "error_code": job.error_code,
        "error": job.error,
    }


def _decode(line: bytes) -> JobEvent:
    value = json.loads(line)
    return JobEvent(value["seq"], datetime.fromisoformat(value["at"]), value["kind"], value["data"])


def _make(directory: Path) -> None:
    (directory / "logs").mkdir(mode=0o700, parents=True, exist_ok=True)


_: type[JobJournal] = FileJournal
