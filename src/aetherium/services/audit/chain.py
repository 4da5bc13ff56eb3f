"""What an entry's hash is made of.

The hash of an entry is SHA-256, in hexadecimal digits, over its document in canonical form. The document has
the members ``v`` (1), ``seq``, ``at`` (UTC with microseconds: ``2026-03-04T05:06:07.891011Z``), ``actor``,
``action``, ``resource``, ``outcome``, ``project_id`` (or null), ``address``, ``request_id``, ``data`` and
``previous``, which is the hash of the entry before and thereby ties all of them together.

Canonical form is JSON as in RFC 8785: no white space, members sorted by the UTF-16 code units of their names,
strings escaped only where JSON demands it, UTF-8. Of numbers there are only whole ones of up to 53 bits:
`clean` makes strings of all others before they are recorded, so there is no question of how they are written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from aetherium.domain.audit import AuditEntry, AuditEvent

# What the first entry follows.
GENESIS = "0" * 64
_VERSION = 1
# What every JSON parser can hold (RFC 8785, section 3.2.2.3).
_LARGEST = 2**53 - 1
# As long as the columns are.
_LENGTHS = {"actor": 255, "action": 64, "resource": 255, "outcome": 64, "address": 64, "request_id": 64}
# Of data, in canonical form: an entry is a fact and not a document.
_MOST_DATA = 16 * 1024


def canonical(value: object) -> bytes:
    """JSON types as RFC 8785 writes them. What somebody else has put into a row may be anything: it has a
    form too, which is not that of what was recorded."""
    text = json.dumps(_sorted(value), ensure_ascii=False, separators=(",", ":"), default=repr)
    return text.encode("utf-8", "surrogatepass")


def document(entry: AuditEntry) -> dict[str, Any]:
    """What is hashed of an entry."""
    event = entry.event
    return {
        "v": _VERSION,
        "seq": entry.seq,
        "at": written(entry.at),
        "actor": event.actor,
        "action": event.action,
        "resource": event.resource,
        "outcome": event.outcome,
        "project_id": event.project_id,
        "address": event.address,
        "request_id": event.request_id,
        "data": event.data,
        "previous": entry.previous,
    }


def hash_of(entry: AuditEntry) -> str:
    """The hash that an entry has to have."""
    return hashlib.sha256(canonical(document(entry))).hexdigest()


def link(event: AuditEvent, seq: int, at: datetime, previous: str) -> AuditEntry:
    """The entry for an event that is clean."""
    unhashed = AuditEntry(seq, at, event, previous, "")
    return replace(unhashed, hash=hash_of(unhashed))


def clean(event: AuditEvent) -> AuditEvent:
    """The event as every database gives it back: what is too long is cut, what cannot be stored replaced."""
    texts = {name: _text(getattr(event, name))[:most] for name, most in _LENGTHS.items()}
    data: Any = _plain(event.data)
    size = len(canonical(data))
    if size > _MOST_DATA:
        data = {"omitted_bytes": size}
    return replace(event, **texts, data=data)


def written(at: datetime) -> str:
    """A moment in a document."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {_text(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) <= _LARGEST:
        return int(value)
    return _text(str(value))


def _text(value: str) -> str:
    """Without what databases refuse: NUL, and halves of surrogate pairs."""
    return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _sorted(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _sorted(value[key]) for key in sorted(value, key=_units)}
    if isinstance(value, list | tuple):
        return [_sorted(item) for item in value]
    return value


def _units(name: str) -> bytes:
    return name.encode("utf-16-be", "surrogatepass")
