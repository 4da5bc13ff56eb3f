"""Secret values are masked in output: each of their bytes becomes an asterisk.

Masked output has the length of the original, so that offsets into it stay true. Looked for are each value,
the lines of one that has several, and the forms that programs print by themselves: base64 (also in the
middle of other data), hexadecimal, percent and JSON escapes. A program that wants to give a secret away finds
another form; this is against accidents.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

# Shorter values and lines are not looked for: masking every "1" would hide more than it protects.
SHORTEST = 3
# In base64 fewer characters than these fit too much by chance.
_SHORTEST_CORE = 8
_STAR = b"*"


def patterns(values: Iterable[str]) -> tuple[bytes, ...]:
    """What to look for, longest first."""
    found: set[bytes] = set()
    for value in values:
        for text in {value, value.strip(), *(line.strip() for line in value.splitlines())}:
            if len(text.encode()) >= SHORTEST:
                found.update(_forms(text))
    return tuple(sorted(found, key=lambda form: (-len(form), form)))


def _forms(text: str) -> Iterator[bytes]:
    raw = text.encode()
    yield raw
    yield quote(text, safe="").encode()
    yield quote_plus(text).encode()
    yield json.dumps(text)[1:-1].encode()
    yield json.dumps(text, ensure_ascii=False)[1:-1].encode()
    if len(raw) >= _SHORTEST_CORE:
        yield raw.hex().encode()
        yield raw.hex().upper().encode()
    for before in range(3):
        # The characters that depend on `raw` alone, wherever it begins within a group of three bytes.
        first = -(-before * 8 // 6)
        last = (before + len(raw)) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            core = encode(b"\0" * before + raw)[first:last]
            if len(core) >= _SHORTEST_CORE:
                yield core


class Masker:
    """Masks one stream of output. What may be the beginning of a secret is held back until more comes.

    Args:
        patterns: from `patterns`; empty: nothing is changed.
        offset: position of the first byte that will be fed.
    """

    def __init__(self, patterns: tuple[bytes, ...], offset: int = 0) -> None:
        self._patterns = patterns
        self._context = max((len(pattern) for pattern in patterns), default=1) - 1
        self._raw = bytearray()
        self._start = offset  # of _raw[0]
        self._given = offset  # up to here everything was given out

    def feed(self, offset: int, data: bytes) -> tuple[int, bytes]:
        """Take output that begins at `offset`; what can be given out now: (its offset, bytes)."""
        if not self._patterns:
            return offset, data
        if offset != self._start + len(self._raw):
            # A gap: output was dropped in between, so no secret goes across it. What was held back is lost
            # with the gap rather than shown.
            self._raw.clear()
            self._start = self._given = offset
        self._raw += data
        return self._give(self._held())

    def end(self) -> tuple[int, bytes]:
        """The stream has ended: what was held back."""
        return self._give(len(self._raw))

    def _give(self, upto: int) -> tuple[int, bytes]:
        done = self._given - self._start
        at, data = self._given, bytes(self._masked()[done:upto])
        self._given = self._start + upto
        drop = max(0, upto - self._context)
        del self._raw[:drop]
        self._start += drop
        return at, data

    def _masked(self) -> bytearray:
        masked = bytearray(self._raw)
        for pattern in self._patterns:
            at = self._raw.find(pattern)
            while at >= 0:
                masked[at : at + len(pattern)] = _STAR * len(pattern)
                at = self._raw.find(pattern, at + 1)
        return masked

    def _held(self) -> int:
        """Where the earliest unfinished match at the end begins; never before what was given out."""
        size, done = len(self._raw), self._given - self._start
        earliest = size
        for pattern in self._patterns:
            at = max(done, size - len(pattern) + 1)
            while (at := self._raw.find(pattern[:1], at, earliest)) >= 0:
                if pattern.startswith(bytes(self._raw[at:])):
                    earliest = at
                    break
                at += 1
        return earliest


def masked(patterns: tuple[bytes, ...], data: bytes) -> bytes:
    """The whole of an output."""
    masker = Masker(patterns)
    return masker.feed(0, data)[1] + masker.end()[1]
