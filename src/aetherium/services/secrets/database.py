"""The provider that keeps secrets in the installation's own database, in envelopes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from aetherium.domain.errors import Conflict, NotFound
from aetherium.domain.ids import new_id
from aetherium.domain.secrets import (
    KeyRotation,
    OpenedSecret,
    Place,
    Secret,
    SecretRef,
    check_value,
)
from aetherium.interfaces.secrets import SealedSecret, SealedValue, SecretProvider, WrappedKey
from aetherium.interfaces.store import Store
from aetherium.services.secrets.envelope import Key, MasterKeys

_KEY_PREFIX = "kek"
# Data keys in one transaction: some milliseconds, in which nobody sets one of these secrets.
_BATCH = 100
# A key is retired while a value is sealed under it only by a rotation, and by the next one only much later.
_TRIES = 5


class DatabaseSecrets:
    """See interfaces/secrets.py."""

    def __init__(self, store: Store, masters: MasterKeys) -> None:
        self._store = store
        self._masters = masters

    async def set(self, ref: SecretRef, value: str, *, by: str) -> Secret:
        check_value(value)
        for turn in range(_TRIES):
            key = self._masters.open(await self._newest())

            def seal(secret_id: str, version: int, key: Key = key) -> SealedValue:
                return key.seal(value, ref, secret_id, version)

            try:
                return await self._store.secrets.put(ref, seal, by=by)
            except Conflict:
                if turn == _TRIES - 1:
                    raise
        raise AssertionError

    async def get(self, ref: SecretRef) -> Secret:
        return await self._store.secrets.get(ref)

    async def list(self, project_id: str) -> Sequence[Secret]:
        return await self._store.secrets.list(project_id)

    async def delete(self, ref: SecretRef) -> None:
        if not await self._store.secrets.remove(ref):
            raise NotFound("secret", str(ref), hint="See: aetherium secret list")

    async def open(self, project_id: str, names: Collection[str], place: Place) -> Mapping[str, OpenedSecret]:
        order = {target: number for number, target in enumerate(place.targets())}
        found: dict[str, SealedSecret] = {}

        def width(each: SealedSecret) -> int:
            return order[each.secret.scope, each.secret.target]

        for each in await self._store.secrets.sealed(project_id, names):
            if (each.secret.scope, each.secret.target) in order:
                name = each.secret.name
                found[name] = min(each, found.get(name, each), key=width)
        for name in sorted(names):
            if name not in found:
                raise missing(name, place)
        return {
            name: OpenedSecret(each.secret, self._masters.open(each.key).open(each))
            for name, each in found.items()
        }

    async def note_use(self, secrets: Collection[Secret]) -> None:
        await self._store.secrets.used([secret.id for secret in secrets])

    async def rotate_key(self, *, master: bool = False) -> KeyRotation:
        """See SecretProvider.

        A rotation that was interrupted shows in there being several keys: it is gone on with. At every moment
        all secrets can be opened, and new values are sealed under the newest key.
        """
        remastered = await self._remaster()
        keys = await self._keys()
        if master:
            return KeyRotation(keys[0].id, 0, (), self._masters.id, remastered)
        if len(keys) == 1:
            fresh = self._masters.new_key(new_id(_KEY_PREFIX))
            await self._store.secret_keys.add(fresh, after=keys[0].id)
        wrapped, retired = 0, []
        while len(keys := await self._keys()) > 1:
            moved = await self._move(keys[0])
            wrapped += moved
            if not moved:
                retired += [key.id for key in keys[1:] if await self._store.secret_keys.retire(key.id)]
        return KeyRotation(keys[0].id, wrapped, tuple(retired), self._masters.id, remastered)

    async def _newest(self) -> WrappedKey:
        return (await self._keys())[0]

    async def _keys(self) -> Sequence[WrappedKey]:
        """All of them, newest first. The first one is made when it is needed."""
        keys = await self._store.secret_keys.list()
        if keys:
            return keys
        return [await self._store.secret_keys.add(self._masters.new_key(new_id(_KEY_PREFIX)), after=None)]

    async def _move(self, newest: WrappedKey) -> int:
        """Wrap some data keys under this key; how many these were."""
        found = await self._store.secrets.elsewhere(newest.id, limit=_BATCH)
        to = self._masters.open(newest)
        changes = [(each, self._masters.open(each.key).move(each, to)) for each in found]
        try:
            return await self._store.secrets.rewrap(changes)
        except Conflict:  # another rotation has gone past this key
            return 0

    async def _remaster(self) -> int:
        """Wrap all keys under the present master key; how many were under another one."""
        done = 0
        for key in await self._keys():
            if key.master != self._masters.id:
                anew = self._masters.wrap(self._masters.open(key))
                done += await self._store.secret_keys.remaster(key, anew.master, anew.wrapped)
        return done


def missing(name: str, place: Place) -> NotFound:
    """The error for a secret that is not there for whoever asks in that place."""
    return NotFound(
        f"secret for the job {place.job!r} named" if place.job else "secret",
        name,
        hint=f"Set it: aetherium secret set {name}; or widen the scope of what `aetherium secret list` has;"
        f" or give a value of your own: --secret {name}",
    )


_: type[SecretProvider] = DatabaseSecrets
