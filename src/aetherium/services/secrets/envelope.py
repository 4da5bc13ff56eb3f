"""Envelope encryption: value ← data key ← key ← master key.

::

    master key  the installation's, from its settings; HKDF-SHA256 (RFC 5869) makes of it what wraps
        └─► key       32 random bytes, a row of secret_keys; shared by many secrets, replaced by a rotation
            └─► data key  32 random bytes, one for each value
                └─► value

All of it is AES-256-GCM (NIST SP 800-38D): one byte of version, 12 random bytes of nonce, the ciphertext with
its tag. What is wrapped or sealed is bound to where it belongs by additional data: a key to its id; a data
key and a value to the secret's id, version, project, scope, target and name. Who can write to the database
therefore cannot move a value to another secret, nor bring back an older one under a newer version.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from aetherium.domain.errors import Unavailable
from aetherium.domain.secrets import SecretRef
from aetherium.interfaces.secrets import SealedSecret, SealedValue, WrappedKey

_VERSION = b"\1"
_NONCE = 12
_KEY = 32
_LABEL = b"aetherium secrets: wrapping keys"
_ID_DIGITS = 16


class _Broken(Exception):
    """It was sealed by another key or for another place, or somebody has changed it."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key that wraps data keys, as it is in memory."""

    id: str
    secret: bytes = field(repr=False)

    def seal(self, value: str, ref: SecretRef, secret_id: str, version: int) -> SealedValue:
        """A value under a new data key."""
        data_key = os.urandom(_KEY)
        place = _place(ref, secret_id, version)
        sealed = _encrypt(data_key, value.encode(), b"value\0" + place)
        return SealedValue(self.id, _encrypt(self.secret, data_key, b"key\0" + place), sealed)

    def open(self, found: SealedSecret) -> str:
        """A value. Raises Unavailable."""
        place = _place_of(found)
        try:
            data_key = _decrypt(self.secret, found.value.wrapped, b"key\0" + place)
            return _decrypt(data_key, found.value.sealed, b"value\0" + place).decode()
        except _Broken as error:
            raise _changed(found) from error

    def move(self, found: SealedSecret, to: Key) -> SealedValue:
        """The same value with its data key wrapped under another key. Raises Unavailable."""
        place = b"key\0" + _place_of(found)
        try:
            data_key = _decrypt(self.secret, found.value.wrapped, place)
        except _Broken as error:
            raise _changed(found) from error
        return SealedValue(to.id, _encrypt(to.secret, data_key, place), found.value.sealed)


@dataclass(frozen=True, slots=True)
class _Master:
    id: str
    secret: bytes = field(repr=False)


class MasterKeys:
    """The installation's master key, and the one that it had before.

    Args:
        present: wraps, and opens.
        previous: opens only.
    """

    def __init__(self, present: str, previous: str | None = None) -> None:
        self._present = _derived(present)
        given: Sequence[str] = [present] if previous is None else [present, previous]
        self._all = {master.id: master for master in map(_derived, given)}

    @property
    def id(self) -> str:
        """Names the present master key without giving it away: part of a hash of what was derived from it."""
        return self._present.id

    def new_key(self, key_id: str) -> WrappedKey:
        """A fresh key."""
        return self.wrap(Key(key_id, os.urandom(_KEY)))

    def wrap(self, key: Key) -> WrappedKey:
        """Under the present master key."""
        wrapped = _encrypt(self._present.secret, key.secret, _bound(key.id))
        return WrappedKey(key.id, self._present.id, wrapped)

    def open(self, key: WrappedKey) -> Key:
        """Raises Unavailable."""
        if key.master not in self._all:
            raise Unavailable(
                f"The secrets are under the master key {key.master}, and this one is {self.id}.",
                hint="Give all processes the same master_key; after it was replaced, set master_key_previous"
                " and run: aetherium secret rotate-key --master",
            )
        try:
            return Key(key.id, _decrypt(self._all[key.master].secret, key.wrapped, _bound(key.id)))
        except _Broken as error:
            raise Unavailable(
                f"The key {key.id} of the secrets was changed in the database.", hint="Restore a backup."
            ) from error


def _derived(master: str) -> _Master:
    secret = HKDF(SHA256(), length=_KEY, salt=None, info=_LABEL).derive(master.encode())
    return _Master(hashlib.sha256(b"id\0" + secret).hexdigest()[:_ID_DIGITS], secret)


def _bound(key_id: str) -> bytes:
    return b"wrapping key\0" + key_id.encode()


def _place(ref: SecretRef, secret_id: str, version: int) -> bytes:
    return "\0".join((secret_id, str(version), ref.project_id, ref.scope, ref.target, ref.name)).encode()


def _place_of(found: SealedSecret) -> bytes:
    return _place(found.secret.ref, found.secret.id, found.secret.version)


def _changed(found: SealedSecret) -> Unavailable:
    return Unavailable(
        f"The secret {found.secret.ref} was changed in the database, and cannot be opened.",
        hint="Set it again.",
    )


def _encrypt(key: bytes, data: bytes, bound_to: bytes) -> bytes:
    nonce = os.urandom(_NONCE)
    return _VERSION + nonce + AESGCM(key).encrypt(nonce, data, bound_to)


def _decrypt(key: bytes, sealed: bytes, bound_to: bytes) -> bytes:
    if sealed[:1] != _VERSION:
        raise _Broken
    try:
        return AESGCM(key).decrypt(sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :], bound_to)
    except (InvalidTag, ValueError) as error:  # ValueError: it is too short to have a nonce
        raise _Broken from error
