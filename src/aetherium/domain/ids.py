"""Identifiers: a prefix that names the kind, then 80 bits that sort by time of creation.

``vm_06jx3k9q2w8r5t1a``: 40 bits of milliseconds since 2024 (35 years) and 40 random bits, in lower-case
Crockford base 32. Short on purpose: it stands in socket paths, of which the kernel takes 107 bytes.
"""

from __future__ import annotations

import re
import secrets
import time

from aetherium.domain.errors import InvalidInput

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_EPOCH_MS = 1_704_067_200_000  # 2024-01-01T00:00:00Z
_PATTERN = re.compile(r"^[a-z]{2,6}_[0-9a-hjkmnp-tv-z]{16}$")

VM, EXECUTION, SNAPSHOT, JOB, TASK, ARTIFACT, STEP, WORKER, SCHEDULE, PROJECT, EVENT, KEY, SECRET, UPLOAD = (
    "vm",
    "ex",
    "snap",
    "job",
    "task",
    "art",
    "step",
    "wkr",
    "sched",
    "prj",
    "evt",
    "key",
    "sec",
    "upl",
)


def new_id(prefix: str) -> str:
    """A fresh identifier of the kind that `prefix` names."""
    milliseconds = (time.time_ns() // 1_000_000 - _EPOCH_MS) & ((1 << 40) - 1)
    value = milliseconds << 40 | secrets.randbits(40)
    digits = [_ALPHABET[value >> shift & 31] for shift in range(75, -5, -5)]
    return f"{prefix}_{''.join(digits)}"


def akin(prefix: str, mark: str) -> str | None:
    """The identifier of the kind that `prefix` names with the bits of another one, `mark`: the same whenever
    it is asked for. None for none."""
    return f"{prefix}_{mark.partition('_')[2]}" if mark else None


def is_id(text: str, prefix: str) -> bool:
    """Whether `text` has the form of an identifier of that kind."""
    return text.startswith(f"{prefix}_") and bool(_PATTERN.match(text))


def check_id(text: str, prefix: str) -> str:
    """`text`, or InvalidInput if it does not have the form of an identifier of that kind."""
    if not is_id(text, prefix):
        raise InvalidInput(f"{text!r} is not an identifier of the form {prefix}_….", value=text)
    return text
