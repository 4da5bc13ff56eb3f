"""Appends to the chain.

Events that come while a write is under way go into the next transaction together (group commit): a caller
waits for at most two of them, however many callers there are, and the end of the chain is signed once for
all.

Before anything is appended the end that the store gives is looked at: it has to be signed, and not to lie
before what this process knows. Otherwise somebody has been at the database, and to go on as if nothing were
would put our own signature under it. The log then goes on with an entry `audit.interrupted` that says so, and
that every verification tells of. To stop would only let whoever reaches the database stop everything.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from aetherium.domain.audit import AuditCheckpoint, AuditEvent, AuditHead
from aetherium.domain.errors import AetheriumError, Conflict, Unavailable
from aetherium.interfaces.audit import AuditBatch, AuditEnd, Auditor, AuditRepository
from aetherium.interfaces.background import beside
from aetherium.interfaces.finishing import finish
from aetherium.services.audit.chain import GENESIS, clean, link
from aetherium.services.audit.signing import Signer, is_signed, signer_of

log = logging.getLogger(__name__)

# Actions of the log's own; their actor is `system`.
INTERRUPTED = "audit.interrupted"
KEY_CHANGED = "audit.key_changed"
# A transaction of so many takes some tens of milliseconds, which is what callers wait for at most.
MOST_AT_ONCE = 500
CHECKPOINT_ENTRIES = 1000
CHECKPOINT_AGE = timedelta(hours=1)
# Notes are gathered for so long; what a killed process loses is at most this much of how things ended.
_PAUSE_S = 0.03
_RETRY_S = 1.0
# Of notes that wait while the store is away.
_MOST_NOTES = 10_000
# Others may take our numbers if the first entry of all is made by several at once.
_RETRIES = 5


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the next entry goes.

    Args:
        before: an event of the log's own that comes first.
    """

    seq: int
    previous: str
    before: AuditEvent | None = None


class _Suspicious(Exception):
    """The end of the chain is not one to go on from."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


# An event, and who waits for it to be durable.
_Waiting = tuple[AuditEvent, asyncio.Future[None] | None]


class AuditLog:
    """See interfaces/audit.py. Use `open_audit_log`."""

    def __init__(self, repository: AuditRepository, signer: Signer) -> None:
        self._repository = repository
        self._signer = signer
        self._waiting: deque[_Waiting] = deque()
        self._notes = 0
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._turn = asyncio.Lock()
        self._known: AuditHead | None = None
        self._newest: AuditCheckpoint | None = None
        self._begun = False
        self._closed = False

    @property
    def known(self) -> AuditHead | None:
        """The end as far as this process knows it; without a signature if somebody else has written it."""
        return self._known

    async def record(self, event: AuditEvent) -> None:
        if self._closed:
            raise Unavailable("The audit log is closed.")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((clean(event), done))
        self._wake.set()
        await done

    def note(self, event: AuditEvent) -> None:
        if self._closed or self._notes >= _MOST_NOTES:
            log.error("An entry of the audit log is lost: %s", clean(event))
            return
        self._notes += 1
        self._waiting.append((clean(event), None))
        self._wake_in(_PAUSE_S)

    async def flush(self) -> None:
        """Write what was noted. Raises Unavailable; nothing is forgotten then."""
        async with self._turn:
            while self._waiting:
                await finish(self._write_some())

    async def run(self) -> None:
        """Write whenever there is something, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self.flush()
            except Exception as error:  # the boundary of a task: those who wait were told, and others come
                if not isinstance(error, AetheriumError):
                    log.exception("A write of the audit log has failed.")
                elif self._notes:
                    log.warning("The audit log cannot be written now, and will be: %s", error)
                if self._notes < len(self._waiting):
                    self._wake.set()
                else:
                    self._wake_in(_RETRY_S)

    async def close(self) -> None:
        """Write what was noted, and take nothing more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        try:
            await self.flush()
        except AetheriumError as error:
            lost = [event for event, _ in self._waiting]
            log.error("%d entries of the audit log are lost: %s: %s", len(lost), error, lost)  # noqa: TRY400 - no defect of ours

    def _wake_in(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._wake_now)

    def _wake_now(self) -> None:
        self._timer = None
        self._wake.set()

    async def _write_some(self) -> None:
        some = [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_AT_ONCE))]
        try:
            await self._append([event for event, _ in some])
        except BaseException as error:
            self._waiting.extendleft(each for each in reversed(some) if each[1] is None)
            for _, done in some:
                if done is not None and not done.done():
                    done.set_exception(_unavailable(error))
                    done.exception()  # retrieved: its caller may have gone
            raise
        for _, done in some:
            if done is None:
                self._notes -= 1
            elif not done.done():
                done.set_result(None)

    async def _append(self, events: Sequence[AuditEvent]) -> None:
        if not self._begun:
            await self._begin()
        for turn in range(_RETRIES):
            try:
                batch = await self._attempt(events)
                break
            except Conflict:
                if turn == _RETRIES - 1:
                    raise
        self._known = batch.head
        if batch.checkpoint is not None:
            self._newest = batch.checkpoint
            # Kept apart from the database by whoever keeps logs.
            log.info("The audit log has a checkpoint: entry %d, %s", batch.head.seq, batch.head.hash)

    async def _attempt(self, events: Sequence[AuditEvent]) -> AuditBatch:
        def follow(head: AuditHead | None, now: datetime) -> AuditBatch:
            return self._batch(events, self._after(head), now)

        try:
            return await self._repository.append(follow)
        except _Suspicious as found:
            why = found.why
        except Conflict:
            end = await self._repository.end()
            if _is_consistent(end):
                raise  # another process was the first
            why = "there are entries beyond the end"
        return await self._interrupted(events, why)

    async def _interrupted(self, events: Sequence[AuditEvent], why: str) -> AuditBatch:
        end = await self._repository.end()
        highest = max(known.seq for known in (self._known, end.head, end.checkpoint, _NOTHING) if known)
        seq, hash_ = end.last or (0, GENESIS)
        event = clean(AuditEvent("system", INTERRUPTED, "", why, data=_told(end.head, self._known)))
        log.error("The audit log was changed from outside: %s. It goes on after entry %d.", why, highest)

        def follow(_: AuditHead | None, now: datetime) -> AuditBatch:
            return self._batch(events, _Place(max(seq, highest) + 1, hash_, event), now)

        return await self._repository.append(follow)

    async def _begin(self) -> None:
        end = await self._repository.end()
        newest = end.checkpoint
        if newest is not None and newest.key in self._signer.keys and is_signed(newest):
            self._newest = newest
            self._known = AuditHead(newest.seq, newest.hash, "")
        if end.last is not None and (self._known is None or end.last[0] > self._known.seq):
            # Whatever it is worth: an end before it is not the one that was.
            self._known = AuditHead(*end.last, "")
        self._begun = True

    def _after(self, head: AuditHead | None) -> _Place:
        """Where it goes on. Raises _Suspicious."""
        known = self._known
        if head is None:
            if known is not None:
                raise _Suspicious("the end is missing")
            return _Place(1, GENESIS)
        if head == known:
            return _Place(head.seq + 1, head.hash)
        if known is not None and (
            head.seq < known.seq or (head.seq == known.seq and head.hash != known.hash)
        ):
            raise _Suspicious("the end was set back")
        key = signer_of(head, self._signer.keys)
        if key is None:
            raise _Suspicious("the end is not signed by this installation")
        changed = None
        if key != self._signer.key:
            changed = AuditEvent("system", KEY_CHANGED, self._signer.key, data={"previous": key})
        return _Place(head.seq + 1, head.hash, changed)

    def _batch(self, events: Sequence[AuditEvent], place: _Place, now: datetime) -> AuditBatch:
        entries, previous = [], place.previous
        for seq, event in enumerate([place.before, *events] if place.before else events, place.seq):
            entries.append(link(event, seq, now, previous))
            previous = entries[-1].hash
        last = entries[-1]
        due = self._is_due(last.seq, now) or place.before is not None
        return AuditBatch(
            entries,
            self._signer.head(last.seq, last.hash),
            self._signer.checkpoint(last.seq, now, last.hash) if due else None,
        )

    def _is_due(self, seq: int, now: datetime) -> bool:
        newest = self._newest
        if newest is None:
            return True
        return seq - newest.seq >= CHECKPOINT_ENTRIES or now - newest.at >= CHECKPOINT_AGE


_NOTHING = AuditHead(0, GENESIS, "")


@asynccontextmanager
async def open_audit_log(repository: AuditRepository, signer: Signer) -> AsyncIterator[AuditLog]:
    """A log for the time of the block; at its end all that was noted is written."""
    audit = AuditLog(repository, signer)
    try:
        async with beside(audit.run(), "audit log"):
            yield audit
    finally:
        await finish(audit.close())


def _is_consistent(end: AuditEnd) -> bool:
    return end.head is not None and end.last == (end.head.seq, end.head.hash)


def _told(found: AuditHead | None, known: AuditHead | None) -> dict[str, object]:
    """What the end was, and what it was known to be."""
    named = {"found": found, "known": known}
    return {name: {"seq": head.seq, "hash": head.hash} for name, head in named.items() if head is not None}


def _unavailable(error: BaseException) -> Unavailable:
    if isinstance(error, Unavailable):
        return error
    return Unavailable("The audit log cannot be written.", hint="Nothing was done. Try again.")


_: type[Auditor] = AuditLog
