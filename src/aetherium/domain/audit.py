"""What happened, who did it, and whether it went well."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """What is to be recorded.

    Args:
        actor: the subject of a Caller; empty: nobody could be recognised.
        action: ``vm.create``, ``secret.use``, ``auth.failure`` …
        resource: the id of what it was done to, or how the caller called it; never a secret.
        outcome: ``ok``, or the code of the error.
        project_id: None: it concerns the installation.
        data: further facts, JSON types only; never a secret.
    """

    actor: str
    action: str
    resource: str
    outcome: str = "ok"
    project_id: str | None = None
    address: str = ""
    request_id: str = ""
    data: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One link of the chain.

    Args:
        seq: from 1, without gaps.
        previous: the hash of the entry before; of the first one, 64 zeros.
        hash: of all the rest; see services/audit.
    """

    seq: int
    at: datetime
    event: AuditEvent
    previous: str
    hash: str


@dataclass(frozen=True, slots=True)
class AuditHead:
    """The end of the chain.

    Args:
        signature: by whoever appended last, in hexadecimal digits.
    """

    seq: int
    hash: str
    signature: str


@dataclass(frozen=True, slots=True)
class AuditCheckpoint:
    """An entry's hash, signed: the chain up to there was this one.

    Args:
        key: the public key, in hexadecimal digits as the signature.
    """

    seq: int
    at: datetime
    hash: str
    key: str
    signature: str


class FindingKind(StrEnum):
    """What is wrong."""

    CHANGED = "changed"
    REMOVED = "removed"
    INSERTED = "inserted"
    REORDERED = "reordered"
    TRUNCATED = "truncated"
    FORGED = "forged"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class AuditFinding:
    """One thing that is wrong.

    Args:
        seq: the entry at which it shows.
        what: in words.
    """

    seq: int
    kind: FindingKind
    what: str


@dataclass(frozen=True, slots=True)
class AuditVerification:
    """What was found in the whole log.

    Args:
        entries: how many there are.
        checkpoints: how many there are whose signatures are right.
        key: the public key that they were checked with.
        head: the end, to be kept elsewhere: a later verification can be given it.
        findings: empty: all is well.
        complete: False: there were so many findings that the rest was not looked at.
    """

    entries: int
    checkpoints: int
    key: str
    head: AuditHead | None
    findings: tuple[AuditFinding, ...]
    complete: bool = True

    @property
    def ok(self) -> bool:
        """Nothing was found."""
        return not self.findings
