"""Secrets of a task on their way to its worker: sealed, so that the database holds nothing readable.

AES-256-GCM (NIST SP 800-38D) under the installation's master key: one byte of version, 12 random bytes of
nonce, then the ciphertext with its tag. The task's id is bound in as additional data, so a sealed value
cannot be moved to another row.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from aetherium.domain.errors import InvalidInput, Unavailable

_VERSION = b"\1"
_NONCE = 12
_SHORTEST = 16


class Sealer:
    """Seals and opens.

    Args:
        key: the master key, any text of 16 characters or more with enough randomness.
        previous: the master key before, which opens only: tasks may wait that were sealed under it.
    """

    def __init__(self, key: str, previous: str | None = None) -> None:
        if len(key) < _SHORTEST:
            raise InvalidInput(
                f"The master key has {len(key)} characters.",
                hint="Use at least 16 random ones, for example of: openssl rand -hex 32",
                field="master_key",
            )
        self._cipher = _cipher(key)
        self._openers = [self._cipher, *([] if previous is None else [_cipher(previous)])]

    def seal(self, values: Mapping[str, str], bound_to: str) -> bytes:
        """Empty for no values."""
        if not values:
            return b""
        nonce = os.urandom(_NONCE)
        data = json.dumps(dict(values)).encode()
        return _VERSION + nonce + self._cipher.encrypt(nonce, data, bound_to.encode())

    def open(self, sealed: bytes, bound_to: str) -> Mapping[str, str]:
        """Raises Unavailable if another key sealed it."""
        if not sealed:
            return {}
        nonce, data = sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :]
        for cipher in self._openers:
            try:
                found: dict[str, str] = json.loads(cipher.decrypt(nonce, data, bound_to.encode()))
            except (InvalidTag, ValueError):
                continue
            return found
        raise Unavailable(
            f"The secrets of {bound_to} cannot be opened.",
            hint="Give all processes of the cluster the same master_key, and after it was replaced the one"
            " before as master_key_previous.",
        )


def _cipher(key: str) -> AESGCM:
    return AESGCM(hashlib.sha256(b"aetherium sealing\0" + key.encode()).digest())


def local_key(path: Path) -> str:
    """The key that a data directory keeps for itself (mode 0600), made when missing."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        key = path.read_text(encoding="ascii").strip()
        if key:
            return key
        raise Unavailable(
            f"The key file {path} is empty.", hint="Remove it; secrets that wait are lost."
        ) from None
    with os.fdopen(fd, "w", encoding="ascii") as file:
        key = secrets.token_hex(32)
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    return key
