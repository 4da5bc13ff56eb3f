"""Signatures (Ed25519, RFC 8032), by a key that comes from the installation's master key.

The master key is not in the database, so who has only that cannot sign. The private key is HKDF-SHA256
(RFC 5869) of the master key with the info ``aetherium audit: signing``; the public key, in hexadecimal
digits, is the key's name. What is signed is a canonical document with the member ``of``, ``head`` or
``checkpoint``, so that one cannot be taken for the other.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from aetherium.domain.audit import AuditCheckpoint, AuditHead
from aetherium.domain.errors import InvalidInput
from aetherium.services.audit.chain import canonical, written

_LABEL = b"aetherium audit: signing"


class Signer:
    """Signs.

    Args:
        master: the installation's master key.
        previous: the one that it had before, whose signatures are right too.
    """

    def __init__(self, master: str, previous: str | None = None) -> None:
        self._private = _derived(master)
        self.key = _public(self._private)
        self.previous = None if previous is None else _public(_derived(previous))

    @property
    def keys(self) -> Collection[str]:
        """The public keys whose signatures are right."""
        return [self.key] if self.previous is None else [self.key, self.previous]

    def head(self, seq: int, hash_: str) -> AuditHead:
        """The signed end of a chain."""
        unsigned = AuditHead(seq, hash_, "")
        return replace(unsigned, signature=self._private.sign(_of_head(unsigned)).hex())

    def checkpoint(self, seq: int, at: datetime, hash_: str) -> AuditCheckpoint:
        """A signed hash of an entry."""
        unsigned = AuditCheckpoint(seq, at, hash_, self.key, "")
        return replace(unsigned, signature=self._private.sign(_of_checkpoint(unsigned)).hex())


def signer_of(head: AuditHead, keys: Collection[str]) -> str | None:
    """Which of these keys has signed it."""
    return next((key for key in keys if _right(key, head.signature, _of_head(head))), None)


def is_signed(checkpoint: AuditCheckpoint) -> bool:
    """Whether the key that it names has signed it."""
    return _right(checkpoint.key, checkpoint.signature, _of_checkpoint(checkpoint))


def checked_key(text: str) -> str:
    """A public key that somebody has written. Raises InvalidInput."""
    key = text.strip().lower()
    if len(key) != 64 or _loaded(key) is None:
        raise InvalidInput(
            f"{text!r} is not a public key.",
            hint="Give the 64 hexadecimal digits that this shows: aetherium audit key",
            field="key",
        )
    return key


def _derived(master: str) -> Ed25519PrivateKey:
    seed = HKDF(SHA256(), length=32, salt=None, info=_LABEL).derive(master.encode())
    return Ed25519PrivateKey.from_private_bytes(seed)


def _public(private: Ed25519PrivateKey) -> str:
    return private.public_key().public_bytes_raw().hex()


def _right(key: str, signature: str, signed: bytes) -> bool:
    public = _loaded(key)
    if public is None:
        return False
    try:
        public.verify(bytes.fromhex(signature), signed)
    except (InvalidSignature, ValueError):
        return False
    return True


def _loaded(key: str) -> Ed25519PublicKey | None:
    try:
        return Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
    except ValueError:
        return None


def _of_head(head: AuditHead) -> bytes:
    return canonical({"of": "head", "seq": head.seq, "hash": head.hash})


def _of_checkpoint(checkpoint: AuditCheckpoint) -> bytes:
    at = written(checkpoint.at)
    return canonical({"of": "checkpoint", "seq": checkpoint.seq, "at": at, "hash": checkpoint.hash})
