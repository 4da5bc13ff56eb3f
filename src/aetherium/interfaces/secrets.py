"""Where stored secrets are: providers, which hold values, and the rows of the provider in the database.

Values are encrypted twice over: each with a data key of its own, which is wrapped by a key that many data
keys share and that can be replaced, which is wrapped by the installation's master key; see
services/secrets/envelope.py. Repositories see none of these but wrapped.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from aetherium.domain.secrets import KeyRotation, OpenedSecret, Place, Secret, SecretRef


class SecretProvider(Protocol):
    """Holds secrets. All calls raise Unavailable when it cannot be reached, or not be opened."""

    async def set(self, ref: SecretRef, value: str, *, by: str) -> Secret:
        """Make it, or give it a new value and the next version. Raises InvalidInput."""
        ...

    async def get(self, ref: SecretRef) -> Secret:
        """Raises NotFound."""
        ...

    async def list(self, project_id: str) -> Sequence[Secret]:
        """All of a project, by name, then scope and target."""
        ...

    async def delete(self, ref: SecretRef) -> None:
        """With all its versions. Raises NotFound."""
        ...

    async def open(self, project_id: str, names: Collection[str], place: Place) -> Mapping[str, OpenedSecret]:
        """The narrowest secret of each name that may be used in that place. Raises NotFound, which names the
        first that is missing."""
        ...

    async def note_use(self, secrets: Collection[Secret]) -> None:
        """They are being given to an execution, if the provider keeps that."""
        ...

    async def rotate_key(self, *, master: bool = False) -> KeyRotation:
        """Wrap all data keys under a new key, or go on with a rotation that was interrupted. With `master`
        only wrap the keys under the present master key. Raises Unsupported."""
        ...


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A key that wraps data keys.

    Args:
        master: the id of the master key that it is wrapped under.
    """

    id: str
    master: str
    wrapped: bytes = field(repr=False)
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class SealedValue:
    """A value.

    Args:
        key_id: of the key that its data key is wrapped under.
        wrapped: the data key.
        sealed: the value under the data key.
    """

    key_id: str
    wrapped: bytes = field(repr=False)
    sealed: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SealedSecret:
    """A secret, its sealed value, and the key that leads to it."""

    secret: Secret
    value: SealedValue
    key: WrappedKey


class SecretRepository(Protocol):
    """Secrets. Of one name there is one in each scope and target of a project."""

    async def put(self, ref: SecretRef, seal: Callable[[str, int], SealedValue], *, by: str) -> Secret:
        """Insert, or replace by the next version; `seal` gets the id and the version. Raises Conflict if the
        key that it sealed under has been retired meanwhile."""
        ...

    async def get(self, ref: SecretRef) -> Secret: ...

    async def list(self, project_id: str) -> Sequence[Secret]:
        """By name, then scope and target."""
        ...

    async def sealed(self, project_id: str, names: Collection[str]) -> Sequence[SealedSecret]:
        """Those with one of these names, in whatever scope."""
        ...

    async def remove(self, ref: SecretRef) -> bool: ...

    async def used(self, ids: Collection[str]) -> None:
        """Note that they are being used."""
        ...

    async def elsewhere(self, key_id: str, *, limit: int) -> Sequence[SealedSecret]:
        """Some whose data keys are wrapped under other keys than this one."""
        ...

    async def rewrap(self, changes: Sequence[tuple[SealedSecret, SealedValue]]) -> int:
        """Replace the wrapped data keys of those that are still as they were read; how many these are. Raises
        Conflict if a new key has been retired meanwhile."""
        ...


class SecretKeyRepository(Protocol):
    """The keys that wrap data keys. The newest one is for new values."""

    async def add(self, key: WrappedKey, *, after: str | None) -> WrappedKey:
        """Add one if `after` (None: none) is still the newest; the newest now."""
        ...

    async def list(self) -> Sequence[WrappedKey]:
        """Those that are not retired, newest first."""
        ...

    async def retire(self, key_id: str) -> bool:
        """Forget it, unless it is in use or the newest; whether this call has."""
        ...

    async def remaster(self, key: WrappedKey, master: str, wrapped: bytes) -> bool:
        """Replace what it is wrapped under, if it is still as it was read."""
        ...
