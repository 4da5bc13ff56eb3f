"""API keys: ``aek_PREFIX_SECRET``, a prefix of 8 letters and digits, and 32 random bytes in base64url.

The prefix finds the key, and may be shown. Of the whole only the SHA-256 is kept: a slow hash protects what
people think up, and among 2^256 values there is nothing to be guessed.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from aetherium.domain.errors import AetheriumError, InvalidInput
from aetherium.domain.identity import APIKey, Role, checked_scopes
from aetherium.domain.ids import KEY, new_id
from aetherium.interfaces.clock import Clock
from aetherium.interfaces.store import Store

log = logging.getLogger(__name__)

MARK = "aek_"
_FORM = re.compile(r"(aek_[0-9a-z]{8})_[A-Za-z0-9_-]{43}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,62}")
_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"
# A revoked key works so long at most on a gateway that has not heard of it.
TRUST_S = 5.0
_MOST_TRUSTED = 10_000
# How often uses are written; `used_at` is as exact as that.
_NOTE_S = 60.0
GRACE_S = 86_400.0
_LONGEST_GRACE_S = 30 * 86_400.0
_LONGEST_LIFE_S = 3660 * 86_400.0


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A key with its text, which is not seen again."""

    key: APIKey
    secret: str = field(repr=False)

    @property
    def id(self) -> str:
        """The key's."""
        return self.key.id


def prefix_of(text: str) -> str:
    """The prefix of a key, or an empty string if it does not have the form of one."""
    found = _FORM.fullmatch(text)
    return found[1] if found else ""


def hash_of(text: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(text.encode()).hexdigest()


class KeyService:
    """See the methods. `ref` is an id, a prefix of the key, a name, or a unique prefix of an id.

    Args:
        now: seconds that pass.
    """

    def __init__(self, store: Store, clock: Clock, now: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._now = now
        self._trusted: OrderedDict[str, tuple[APIKey, float]] = OrderedDict()
        self._changes = 0
        self._used: set[str] = set()

    async def create(
        self,
        name: str,
        *,
        project_id: str | None,
        role: Role,
        scopes: frozenset[str] | None = None,
        expires_in_s: float | None = None,
        by: str,
    ) -> IssuedKey:
        """A key of a project, or with None of the installation's administrators.

        Raises InvalidInput, and NotFound for the project.
        """
        _check(name, project_id, role, expires_in_s)
        if project_id is not None:
            project_id = (await self._store.projects.find(project_id)).id
        text = _fresh()
        at = await self._store.now()
        key = APIKey(
            id=new_id(KEY),
            name=name,
            prefix=prefix_of(text),
            project_id=project_id,
            role=role,
            created_at=at,
            created_by=by,
            scopes=None if scopes is None else checked_scopes(scopes),
            expires_at=None if expires_in_s is None else at + timedelta(seconds=expires_in_s),
        )
        await self._store.api_keys.add(key, hash_of(text))
        return IssuedKey(key, text)

    async def list(self) -> Sequence[APIKey]:
        """Of all projects, newest first."""
        return await self._store.api_keys.list()

    async def get(self, ref: str) -> APIKey:
        """Raises NotFound."""
        return await self._store.api_keys.find(ref)

    async def rotate(self, ref: str, *, grace_s: float = GRACE_S, by: str) -> IssuedKey:
        """Another key that may do the same, for as long; the old one is valid for `grace_s` yet.

        Raises NotFound, InvalidInput, and Conflict for one that is not valid any more.
        """
        if not 0 <= grace_s <= _LONGEST_GRACE_S:
            raise InvalidInput(
                f"The grace is {grace_s:g} seconds.",
                hint=f"Give 0 to {_LONGEST_GRACE_S:g}.",
                field="grace_s",
            )
        old = await self.get(ref)
        text, at = _fresh(), await self._store.now()
        new = replace(
            old,
            id=new_id(KEY),
            prefix=prefix_of(text),
            created_at=at,
            created_by=by,
            expires_at=None if old.expires_at is None else at + (old.expires_at - old.created_at),
            used_at=None,
        )
        made = await self._store.api_keys.replace(old.id, new, hash_of(text), grace_s=grace_s)
        self._forget(old.id)
        return IssuedKey(made, text)

    async def revoke(self, ref: str) -> APIKey:
        """It is valid no more: here from now on, on other gateways within TRUST_S. Raises NotFound."""
        revoked = await self._store.api_keys.revoke((await self.get(ref)).id)
        self._forget(revoked.id)
        return revoked

    async def verify(self, text: str) -> APIKey | None:
        """The key that this is, if it is valid."""
        prefix, hashed = prefix_of(text), hash_of(text)
        if not prefix:
            return None
        key = self._remembered(hashed) or await self._look_up(prefix, hashed)
        if key is not None:
            self._used.add(key.id)
        return key

    async def run(self) -> None:
        """Write now and then which keys were used, until cancelled."""
        try:
            while True:
                await self._clock.sleep(_NOTE_S)
                await self._note()
        finally:
            await self._note()

    async def _look_up(self, prefix: str, hashed: str) -> APIKey | None:
        changes = self._changes
        found = await self._store.api_keys.valid(prefix)
        if found is None or not hmac.compare_digest(found[1], hashed):
            return None
        if changes == self._changes:  # otherwise it may be one that was revoked meanwhile
            self._trusted[hashed] = (found[0], self._now() + TRUST_S)
            if len(self._trusted) > _MOST_TRUSTED:
                self._trusted.popitem(last=False)
        return found[0]

    def _remembered(self, hashed: str) -> APIKey | None:
        found = self._trusted.get(hashed)
        if found is None:
            return None
        if found[1] > self._now():
            return found[0]
        del self._trusted[hashed]
        return None

    def _forget(self, key_id: str) -> None:
        self._changes += 1
        for hashed, (key, _) in tuple(self._trusted.items()):
            if key.id == key_id:
                del self._trusted[hashed]

    async def _note(self) -> None:
        used, self._used = self._used, set()
        if not used:
            return
        try:
            await self._store.api_keys.used(used)
        except AetheriumError as error:
            log.warning("The uses of %d API keys could not be noted: %s", len(used), error)


def _fresh() -> str:
    prefix = "".join(secrets.choice(_LETTERS) for _ in range(8))
    return f"{MARK}{prefix}_{secrets.token_urlsafe(32)}"


def _check(name: str, project_id: str | None, role: Role, expires_in_s: float | None) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"A key cannot be named {name!r}.",
            hint="Use up to 63 letters, digits, spaces, '.', '_' and '-'; begin with a letter or digit.",
            field="name",
        )
    if project_id is None and role is not Role.ADMIN:
        raise InvalidInput(
            f"A key of the whole installation cannot be a {role}'s.",
            hint="Name a project, or narrow what the key may do with scopes.",
            field="role",
        )
    if expires_in_s is not None and not 0 < expires_in_s <= _LONGEST_LIFE_S:
        raise InvalidInput(
            f"A key cannot expire in {expires_in_s:g} seconds.",
            hint=f"Give more than 0 and at most {_LONGEST_LIFE_S:g}, or nothing.",
            field="expires_in_s",
        )
