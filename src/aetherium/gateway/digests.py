"""Digests of bodies (RFC 9530): those that clients send are checked while the body passes through."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

from aetherium.domain.errors import InvalidInput

_ALGORITHMS = {"sha-256": "sha256", "sha-512": "sha512"}
_MEMBER = re.compile(r"\s*([a-z][a-z0-9_.*-]*)\s*=\s*:([A-Za-z0-9+/=]*):\s*")
FIELD = "Content-Digest"


def parse(header: str) -> Mapping[str, bytes]:
    """The digests of a field by algorithm, those that we know. Raises InvalidInput."""
    found: dict[str, bytes] = {}
    for member in header.split(",") if header else ():
        match = _MEMBER.fullmatch(member)
        digest = None if match is None else _decoded(match[2])
        if match is None or digest is None:
            raise InvalidInput(f"{FIELD} has {member.strip()!r}.", hint="Write sha-256=:BASE64:", field=FIELD)
        found[match[1]] = digest
    known = {name: digest for name, digest in found.items() if name in _ALGORITHMS}
    if found and not known:
        raise InvalidInput(
            f"{FIELD} has no digest that is known here: {', '.join(found)}.",
            hint=f"Use {' or '.join(_ALGORITHMS)}.",
            field=FIELD,
        )
    return known


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return None


def show(name: str, digest: bytes) -> str:
    """A digest as a field's value."""
    return f"{name}=:{base64.b64encode(digest).decode()}:"


class Checked:
    """A body. One that is not what was announced raises InvalidInput where it would end, so that its receiver
    does not take it for whole.

    Args:
        wanted: digests by algorithm; none: the body is only digested.
    """

    def __init__(self, body: AsyncIterator[bytes], wanted: Mapping[str, bytes]) -> None:
        self._body = body
        self._wanted = wanted
        self._hashes: dict[str, Any] = {name: hashlib.new(_ALGORITHMS[name]) for name in {"sha-256", *wanted}}

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._body:
            for each in self._hashes.values():
                each.update(piece)
            yield piece
        for name, digest in self._wanted.items():
            actual = self._hashes[name].digest()
            if actual != digest:
                raise InvalidInput(
                    f"The body is not what {FIELD} says: its {name} is {actual.hex()}.",
                    hint="Nothing was written. Send it again.",
                    field=FIELD,
                    algorithm=name,
                    expected=digest.hex(),
                    actual=actual.hex(),
                )

    @property
    def sha256(self) -> str:
        """Of all that has passed, in hex."""
        return str(self._hashes["sha-256"].hexdigest())
