"""Where is recorded who did what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypedDict, Unpack

from aetherium.domain.audit import AuditCheckpoint, AuditEntry, AuditEvent, AuditHead


class Auditor(Protocol):
    """Records; see services/audit for what reads and verifies."""

    async def record(self, event: AuditEvent) -> None:
        """It is durable when this returns. Raises Unavailable; what was to be done must not be done then."""
        ...

    def note(self, event: AuditEvent) -> None:
        """Record it soon, and in any case before the log is closed: how something ended whose beginning was
        recorded."""
        ...


class AuditFilter(TypedDict, total=False):
    """Which entries: all of what is given has to fit.

    Args:
        action: ``vm.*``: all that begin so.
        since: not before this.
        until: before this.
    """

    project_id: str
    actor: str
    action: str
    resource: str
    outcome: str
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class AuditBatch:
    """What is appended at once.

    Args:
        head: the end of the chain, then.
    """

    entries: Sequence[AuditEntry]
    head: AuditHead
    checkpoint: AuditCheckpoint | None = None


@dataclass(frozen=True, slots=True)
class AuditEnd:
    """What a store knows of the end of the chain.

    Args:
        last: the entry with the highest number, as its number and hash.
        checkpoint: the newest one.
    """

    head: AuditHead | None
    last: tuple[int, str] | None
    checkpoint: AuditCheckpoint | None


# Makes a batch of the head, if there is one, and the store's time.
Link = Callable[[AuditHead | None, datetime], AuditBatch]


class AuditRepository(Protocol):
    """The rows of the log: they can be added and read. Nothing of this looks at hashes and signatures."""

    async def append(self, link: Link) -> AuditBatch:
        """Add what `link` makes of the head as it is then: nobody else adds anything meanwhile. Raises
        Conflict if others have added the same numbers; nothing is added then."""
        ...

    async def end(self) -> AuditEnd:
        """All of it as it is at one moment."""
        ...

    async def list(
        self, *, before: int | None = None, limit: int = 100, **where: Unpack[AuditFilter]
    ) -> Sequence[AuditEntry]:
        """Newest first; `before`: only numbers below this one."""
        ...

    async def entries(self, *, after: int = 0, limit: int = 500) -> Sequence[AuditEntry]:
        """By number, above `after`."""
        ...

    async def checkpoints(self, *, after: int = 0, limit: int = 500) -> Sequence[AuditCheckpoint]:
        """By number, above `after`."""
        ...
