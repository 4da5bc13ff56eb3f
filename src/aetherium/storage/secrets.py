"""The SecretRepository and the SecretKeyRepository in SQL.

A key is retired behind a lock on its row, and whoever writes something that is wrapped under it holds that
row too: no data key is ever left behind with a key that is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from aetherium.domain.errors import Conflict, NotFound
from aetherium.domain.ids import SECRET, new_id
from aetherium.domain.secrets import Secret, SecretRef, SecretScope
from aetherium.interfaces.secrets import (
    SealedSecret,
    SealedValue,
    SecretKeyRepository,
    SecretRepository,
    WrappedKey,
)
from aetherium.storage.database import Database
from aetherium.storage.tables import secret_keys, stored_secrets

Seal = Callable[[str, int], SealedValue]

_NAMES = (
    "id",
    "project_id",
    "target",
    "name",
    "version",
    "created_at",
    "updated_at",
    "updated_by",
    "used_at",
)
_KEY_COLUMNS = (secret_keys.c.master, secret_keys.c.wrapped.label("key_wrapped"))
_WITH_KEYS = sa.select(*stored_secrets.c, *_KEY_COLUMNS).join_from(
    stored_secrets, secret_keys, secret_keys.c.id == stored_secrets.c.key_id
)


class SqlSecrets:
    """See interfaces/secrets.py."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, ref: SecretRef, seal: Seal, *, by: str) -> Secret:
        async def work(connection: AsyncConnection) -> Secret:
            return await self._put(connection, ref, seal, by)

        try:
            return await self._database.write(work)
        except IntegrityError:  # made by somebody else at the same time: ours is the next version
            return await self._database.write(work)

    async def _put(self, connection: AsyncConnection, ref: SecretRef, seal: Seal, by: str) -> Secret:
        query = sa.select(stored_secrets.c.id, stored_secrets.c.version).where(_is(ref)).with_for_update()
        found = (await connection.execute(query)).first()
        secret_id, version = (new_id(SECRET), 1) if found is None else (found.id, found.version + 1)
        value = seal(secret_id, version)
        await _hold(connection, {value.key_id})
        fields = {
            "version": version,
            "updated_at": self._database.moment(),
            "updated_by": by,
            "key_id": value.key_id,
            "wrapped": value.wrapped,
            "sealed": value.sealed,
        }
        change: sa.Insert | sa.Update
        if found is None:
            names = {"id": secret_id, "project_id": ref.project_id, "scope": str(ref.scope)}
            names |= {"target": ref.target, "name": ref.name}
            change = sa.insert(stored_secrets).values(created_at=self._database.moment(), **names, **fields)
        else:
            change = sa.update(stored_secrets).where(stored_secrets.c.id == secret_id).values(fields)
        row = (await connection.execute(change.returning(*stored_secrets.c))).mappings().one()
        return _secret(row)

    async def get(self, ref: SecretRef) -> Secret:
        query = sa.select(stored_secrets).where(_is(ref))

        async def work(connection: AsyncConnection) -> Secret:
            row = (await connection.execute(query)).mappings().first()
            if row is None:
                raise NotFound("secret", str(ref), hint="See: aetherium secret list")
            return _secret(row)

        return await self._database.read(work)

    async def list(self, project_id: str) -> Sequence[Secret]:
        query = (
            sa.select(stored_secrets)
            .where(stored_secrets.c.project_id == project_id)
            .order_by(stored_secrets.c.name, stored_secrets.c.scope, stored_secrets.c.target)
        )

        async def work(connection: AsyncConnection) -> Sequence[Secret]:
            return [_secret(row) for row in (await connection.execute(query)).mappings()]

        return await self._database.read(work)

    async def sealed(self, project_id: str, names: Collection[str]) -> Sequence[SealedSecret]:
        query = _WITH_KEYS.where(
            stored_secrets.c.project_id == project_id, stored_secrets.c.name.in_(sorted(names))
        )
        return await self._sealed(query)

    async def remove(self, ref: SecretRef) -> bool:
        change = sa.delete(stored_secrets).where(_is(ref))
        return (await self._database.write(lambda c: c.execute(change))).rowcount > 0

    async def used(self, ids: Collection[str]) -> None:
        change = (
            sa.update(stored_secrets)
            .where(stored_secrets.c.id.in_(sorted(ids)))
            .values(used_at=self._database.moment())
        )
        await self._database.write(lambda c: c.execute(change))

    async def elsewhere(self, key_id: str, *, limit: int) -> Sequence[SealedSecret]:
        query = _WITH_KEYS.where(stored_secrets.c.key_id != key_id).order_by(stored_secrets.c.id).limit(limit)
        return await self._sealed(query)

    async def rewrap(self, changes: Sequence[tuple[SealedSecret, SealedValue]]) -> int:
        async def work(connection: AsyncConnection) -> int:
            await _hold(connection, {value.key_id for _, value in changes})
            done = 0
            for before, after in changes:
                change = (
                    sa.update(stored_secrets)
                    .where(
                        stored_secrets.c.id == before.secret.id,
                        stored_secrets.c.version == before.secret.version,
                        stored_secrets.c.key_id == before.value.key_id,
                    )
                    .values(key_id=after.key_id, wrapped=after.wrapped)
                )
                done += (await connection.execute(change)).rowcount
            return done

        return await self._database.write(work)

    async def _sealed(self, query: sa.Select[Any]) -> Sequence[SealedSecret]:
        async def work(connection: AsyncConnection) -> Sequence[SealedSecret]:
            return [_sealed(row) for row in (await connection.execute(query)).mappings()]

        return await self._database.read(work)


class SqlSecretKeys:
    """See interfaces/secrets.py."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, key: WrappedKey, *, after: str | None) -> WrappedKey:
        async def work(connection: AsyncConnection) -> WrappedKey:
            if connection.dialect.name == "postgresql":  # SQLite has one writer anyway
                await connection.execute(sa.text("LOCK TABLE secret_keys IN SHARE ROW EXCLUSIVE MODE"))
            newest = await _newest(connection)
            if newest is not None and newest.id != after:
                return newest
            values = {"id": key.id, "master": key.master, "wrapped": key.wrapped}
            change = sa.insert(secret_keys).values(created_at=self._database.moment(), **values)
            row = (await connection.execute(change.returning(*secret_keys.c))).mappings().one()
            return _key(row)

        return await self._database.write(work)

    async def list(self) -> Sequence[WrappedKey]:
        async def work(connection: AsyncConnection) -> Sequence[WrappedKey]:
            return [_key(row) for row in (await connection.execute(_KEYS)).mappings()]

        return await self._database.read(work)

    async def retire(self, key_id: str) -> bool:
        used = sa.exists().where(stored_secrets.c.key_id == key_id)
        change = (
            sa.update(secret_keys)
            .where(secret_keys.c.id == key_id, _ALIVE, ~used)
            .values(retired_at=self._database.moment(), wrapped=b"")
        )

        async def work(connection: AsyncConnection) -> bool:
            # Locked by a statement of its own: what the next one sees was then written before.
            held = sa.select(secret_keys.c.id).where(secret_keys.c.id == key_id).with_for_update()
            await connection.execute(held)
            newest = await _newest(connection)
            if newest is None or newest.id == key_id:
                return False
            return (await connection.execute(change)).rowcount > 0

        return await self._database.write(work)

    async def remaster(self, key: WrappedKey, master: str, wrapped: bytes) -> bool:
        change = (
            sa.update(secret_keys)
            .where(secret_keys.c.id == key.id, secret_keys.c.master == key.master, _ALIVE)
            .values(master=master, wrapped=wrapped)
        )
        return (await self._database.write(lambda c: c.execute(change))).rowcount > 0


_ALIVE = secret_keys.c.retired_at.is_(None)
_KEYS = (
    sa.select(secret_keys).where(_ALIVE).order_by(secret_keys.c.created_at.desc(), secret_keys.c.id.desc())
)


async def _newest(connection: AsyncConnection) -> WrappedKey | None:
    row = (await connection.execute(_KEYS.limit(1))).mappings().first()
    return None if row is None else _key(row)


async def _hold(connection: AsyncConnection, key_ids: Iterable[str]) -> None:
    """Keep these keys from being retired until the transaction ends. Raises Conflict."""
    for key_id in sorted(key_ids):
        query = sa.select(secret_keys.c.id).where(secret_keys.c.id == key_id, _ALIVE)
        if await connection.scalar(query.with_for_update(read=True)) is None:
            raise Conflict(f"The key {key_id} has been retired.", hint="Try again.", key=key_id)


def _is(ref: SecretRef) -> sa.ColumnElement[bool]:
    table = stored_secrets.c
    return sa.and_(
        table.project_id == ref.project_id,
        table.scope == str(ref.scope),
        table.target == ref.target,
        table.name == ref.name,
    )


def _secret(row: Mapping[Any, Any]) -> Secret:
    return Secret(**{name: row[name] for name in _NAMES}, scope=SecretScope(row["scope"]))


def _sealed(row: Mapping[Any, Any]) -> SealedSecret:
    value = SealedValue(row["key_id"], row["wrapped"], row["sealed"])
    return SealedSecret(_secret(row), value, WrappedKey(row["key_id"], row["master"], row["key_wrapped"]))


def _key(row: Mapping[Any, Any]) -> WrappedKey:
    return WrappedKey(row["id"], row["master"], row["wrapped"], row["created_at"])


_: tuple[type[SecretRepository], type[SecretKeyRepository]] = (SqlSecrets, SqlSecretKeys)
