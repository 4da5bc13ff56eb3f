"""The log as lines of JSON, to be verified elsewhere.

The first line is ``{"audit": {"v": 1, "key": …, "project_id": …}}``. Then come ``{"entry": …}``, the entry's
document (see `chain`) with its ``hash``, and ``{"checkpoint": …}`` behind the entry that it signs; the last
line is ``{"head": …}``. The entries of one project have gaps between them, so there are neither checkpoints
nor an end: such an export can be read but not be verified.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any

from aetherium.domain.audit import AuditCheckpoint, AuditEntry, AuditEvent, AuditHead, AuditVerification
from aetherium.domain.errors import InvalidInput
from aetherium.interfaces.audit import AuditEnd, AuditRepository
from aetherium.services.audit.chain import document, written
from aetherium.services.audit.signing import checked_key
from aetherium.services.audit.verifying import Verifier

VERSION = 1
_PAGE = 500
_TEXTS = ("actor", "action", "resource", "outcome", "address", "request_id")


async def walk(
    repository: AuditRepository, end: AuditEnd
) -> AsyncGenerator[AuditEntry | AuditCheckpoint, None]:
    """All that there was when `end` was read, each checkpoint behind its entry."""
    async with aclosing(_marks(repository, end)) as marks, aclosing(_entries(repository, end)) as entries:
        mark = await anext(marks, None)
        async for entry in entries:
            while mark is not None and mark.seq < entry.seq:  # one whose entry is not there
                yield mark
                mark = await anext(marks, None)
            yield entry
            if mark is not None and mark.seq == entry.seq:
                yield mark
                mark = await anext(marks, None)
        while mark is not None:
            yield mark
            mark = await anext(marks, None)


def line(item: AuditEntry | AuditCheckpoint | AuditHead) -> dict[str, Any]:
    """The line of an entry, a checkpoint or the end."""
    if isinstance(item, AuditEntry):
        return {"entry": {**document(item), "hash": item.hash}}
    if isinstance(item, AuditHead):
        return {"head": {"seq": item.seq, "hash": item.hash, "signature": item.signature}}
    return {
        "checkpoint": {
            "seq": item.seq,
            "at": written(item.at),
            "hash": item.hash,
            "key": item.key,
            "signature": item.signature,
        }
    }


def verify_lines(
    lines: Iterable[str], keys: Sequence[str] = (), outside: Mapping[int, str] | None = None
) -> AuditVerification:
    """What is wrong with an export. Blocks.

    Args:
        keys: public keys whose signatures are right; none: the one that the export names, which whoever has
            changed it may have changed too.

    Raises InvalidInput for what is no export of a whole log.
    """
    parsed = _parsed(lines)
    number, first = next(parsed, (1, {}))
    begin = first.get("audit")
    if not isinstance(begin, dict) or begin.get("v") != VERSION:
        raise _unusable(number, 'an export begins with a line of the form {"audit": {"v": 1, …}}')
    if begin.get("project_id") is not None:
        raise _unusable(number, "it has the entries of one project only, which are no chain")
    verifier = Verifier([checked_key(key) for key in keys] or [checked_key(str(begin.get("key")))], outside)
    for number, each in parsed:
        try:
            item = _item(each)
            if line(item) != each:
                raise _unusable(number, "it is not as an export writes it")
            if isinstance(item, AuditHead):
                return _ended(verifier, item, parsed)
            verifier.show(item)
        except (KeyError, TypeError, ValueError) as error:
            raise _unusable(number, "it is no entry, checkpoint or end") from error
    return verifier.end(None)


def newest_known(lines: Iterable[str]) -> Mapping[int, str]:
    """The hash of the last entry that an export, or the answer of a verification, has signed. Raises
    InvalidInput."""
    newest: dict[str, Any] = {}
    for number, each in _parsed(lines):
        found = each.get("head") or each.get("checkpoint")
        try:
            if found and int(found["seq"]) >= newest.get("seq", 0):
                newest = {"seq": int(found["seq"]), "hash": str(found["hash"])}
        except (KeyError, TypeError, ValueError) as error:
            raise _unusable(number, "it is no checkpoint or end") from error
    if not newest:
        raise _unusable(1, "there is neither a checkpoint nor an end in it")
    return {newest["seq"]: newest["hash"]}


def _ended(
    verifier: Verifier, head: AuditHead, rest: Iterator[tuple[int, dict[str, Any]]]
) -> AuditVerification:
    for number, _ in rest:
        raise _unusable(number, "it comes behind the end")
    # An empty log has no end, and an export says so with an end of nothing.
    return verifier.end(head if head.seq else None)


def _parsed(lines: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, text in enumerate(lines, 1):
        try:
            value = json.loads(text)
        except ValueError as error:
            raise _unusable(number, "it is not JSON") from error
        if not isinstance(value, dict):
            raise _unusable(number, "it is no JSON object")
        yield number, value


def _unusable(number: int, why: str) -> InvalidInput:
    return InvalidInput(
        f"Line {number} cannot be used: {why}.", hint="See: aetherium audit export --help", field="file"
    )


def _item(found: Mapping[str, Any]) -> AuditEntry | AuditCheckpoint | AuditHead:
    if "entry" in found:
        return _entry(found["entry"])
    if "checkpoint" in found:
        return _checkpoint(found["checkpoint"])
    head = found["head"]
    return AuditHead(int(head["seq"]), head["hash"], head["signature"])


def _entry(found: Mapping[str, Any]) -> AuditEntry:
    """Exactly what was written, so that the hash says whether it was."""
    texts = {name: found[name] for name in _TEXTS}
    event = AuditEvent(**texts, project_id=found["project_id"], data=found["data"])
    at = datetime.fromisoformat(found["at"])
    return AuditEntry(int(found["seq"]), at, event, found["previous"], found["hash"])


def _checkpoint(found: Mapping[str, Any]) -> AuditCheckpoint:
    at = datetime.fromisoformat(found["at"])
    return AuditCheckpoint(int(found["seq"]), at, found["hash"], found["key"], found["signature"])


async def _entries(repository: AuditRepository, end: AuditEnd) -> AsyncGenerator[AuditEntry, None]:
    after, last = 0, 0 if end.last is None else end.last[0]
    while after < last:
        page = await repository.entries(after=after, limit=_PAGE)
        for entry in page:
            if entry.seq <= last:
                yield entry
        if not page:
            return
        after = page[-1].seq


async def _marks(repository: AuditRepository, end: AuditEnd) -> AsyncGenerator[AuditCheckpoint, None]:
    after, last = 0, 0 if end.checkpoint is None else end.checkpoint.seq
    while after < last:
        page = await repository.checkpoints(after=after, limit=_PAGE)
        for checkpoint in page:
            if checkpoint.seq <= last:
                yield checkpoint
        if not page:
            return
        after = page[-1].seq
