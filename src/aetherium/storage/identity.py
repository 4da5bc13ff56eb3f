"""The APIKeyRepository and the MemberRepository in SQL."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from aetherium.domain.errors import AlreadyExists, Conflict, NotFound
from aetherium.domain.identity import APIKey, Member, Role
from aetherium.interfaces.identity_store import APIKeyRepository, MemberRepository, Membership
from aetherium.storage.database import Database
from aetherium.storage.finding import find_id
from aetherium.storage.scope import EVERYTHING, Scope, seen
from aetherium.storage.tables import api_keys, members, projects

_KEY = (
    "id",
    "name",
    "prefix",
    "project_id",
    "created_at",
    "created_by",
    "expires_at",
    "used_at",
    "revoked_at",
)


class SqlAPIKeys:
    """See interfaces/identity_store.py. A tenant sees its project's keys."""

    def __init__(self, database: Database, scope: Scope = EVERYTHING) -> None:
        self._database = database
        self._seen = seen(api_keys, scope.of_project)

    async def add(self, key: APIKey, hashed: str) -> None:
        try:
            await self._database.write(lambda c: _insert(c, key, hashed))
        except IntegrityError as error:
            raise _taken(key) from error

    async def find(self, ref: str) -> APIKey:
        named = sa.or_(api_keys.c.prefix == ref, api_keys.c.name == ref)
        order = (api_keys.c.revoked_at.is_not(None), api_keys.c.created_at.desc(), api_keys.c.id.desc())

        async def work(connection: AsyncConnection) -> APIKey:
            found = await find_id(connection, api_keys, "API key", ref, named, order, among=self._seen)
            query = sa.select(api_keys).where(api_keys.c.id == found)
            return _key((await connection.execute(query)).mappings().one())

        return await self._database.read(work)

    async def list(self) -> Sequence[APIKey]:
        query = (
            sa.select(api_keys).where(self._seen).order_by(api_keys.c.created_at.desc(), api_keys.c.id.desc())
        )

        async def work(connection: AsyncConnection) -> Sequence[APIKey]:
            return [_key(row) for row in (await connection.execute(query)).mappings()]

        return await self._database.read(work)

    async def valid(self, prefix: str) -> tuple[APIKey, str] | None:
        query = sa.select(api_keys).where(api_keys.c.prefix == prefix, self._valid())

        async def work(connection: AsyncConnection) -> tuple[APIKey, str] | None:
            row = (await connection.execute(query)).mappings().first()
            return None if row is None else (_key(row), row["hash"])

        return await self._database.read(work)

    async def installation_has_one(self) -> bool:
        query = sa.select(sa.exists().where(api_keys.c.project_id.is_(None)))
        return bool(await self._database.read(lambda c: c.scalar(query)))

    async def replace(self, key_id: str, by: APIKey, hashed: str, *, grace_s: float) -> APIKey:
        end = self._database.moment(grace_s)
        earlier = sa.and_(api_keys.c.expires_at.is_not(None), api_keys.c.expires_at < end)
        change = (
            sa.update(api_keys)
            .where(api_keys.c.id == key_id, self._valid(), self._seen)
            .values(expires_at=sa.case((earlier, api_keys.c.expires_at), else_=end))
        )

        async def work(connection: AsyncConnection) -> APIKey:
            if (await connection.execute(change)).rowcount == 0:
                await self._get(connection, key_id)
                raise Conflict(
                    f"The API key {key_id} is revoked or expired.",
                    hint="Create a new one: aetherium api-key create",
                    key_id=key_id,
                )
            await _insert(connection, by, hashed)
            return await self._get(connection, by.id)

        try:
            return await self._database.write(work)
        except IntegrityError as error:
            raise _taken(by) from error

    async def revoke(self, key_id: str) -> APIKey:
        change = (
            sa.update(api_keys)
            .where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None), self._seen)
            .values(revoked_at=self._database.moment())
        )

        async def work(connection: AsyncConnection) -> APIKey:
            await connection.execute(change)
            return await self._get(connection, key_id)

        return await self._database.write(work)

    async def used(self, ids: Collection[str]) -> None:
        change = (
            sa.update(api_keys)
            .where(api_keys.c.id.in_(sorted(ids)), self._seen)
            .values(used_at=self._database.moment())
        )
        await self._database.write(lambda c: c.execute(change))

    async def _get(self, connection: AsyncConnection, key_id: str) -> APIKey:
        query = sa.select(api_keys).where(api_keys.c.id == key_id, self._seen)
        row = (await connection.execute(query)).mappings().first()
        if row is None:
            raise NotFound("API key", key_id)
        return _key(row)

    def _valid(self) -> sa.ColumnElement[bool]:
        lasting = sa.or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > self._database.moment())
        return sa.and_(api_keys.c.revoked_at.is_(None), lasting)


class SqlMembers:
    """See interfaces/identity_store.py. A tenant sees its project's members."""

    def __init__(self, database: Database, scope: Scope = EVERYTHING) -> None:
        self._database = database
        self._seen = seen(members, scope.of_project)

    async def add(self, member: Member) -> None:
        values = {
            "project_id": member.project_id,
            "subject": member.subject,
            "role": str(member.role),
            "created_at": member.created_at,
            "created_by": member.created_by,
        }

        async def work(connection: AsyncConnection) -> None:
            await _require_project(connection, member.project_id)
            await connection.execute(sa.insert(members).values(values))

        try:
            await self._database.write(work)
        except IntegrityError as error:
            raise AlreadyExists(
                f"{member.subject} is a member already.",
                hint="Change the role: aetherium member set",
                subject=member.subject,
            ) from error

    async def get(self, project_id: str, subject: str) -> Member:
        return await self._database.read(lambda c: self._get(c, project_id, subject))

    async def list(self, project_id: str) -> Sequence[Member]:
        query = (
            sa.select(members)
            .where(members.c.project_id == project_id, self._seen)
            .order_by(members.c.subject)
        )

        async def work(connection: AsyncConnection) -> Sequence[Member]:
            return [_member(row) for row in (await connection.execute(query)).mappings()]

        return await self._database.read(work)

    async def of(self, subject: str) -> Sequence[Membership]:
        query = (
            sa.select(*members.c, projects.c.name.label("project"))
            .join_from(members, projects, projects.c.id == members.c.project_id)
            .where(members.c.subject == subject, self._seen)
            .order_by(projects.c.name)
        )

        async def work(connection: AsyncConnection) -> Sequence[Membership]:
            rows = (await connection.execute(query)).mappings()
            return [Membership(_member(row), row["project"]) for row in rows]

        return await self._database.read(work)

    async def set_role(self, project_id: str, subject: str, role: Role, *, keep_admin: bool) -> Member:
        change = sa.update(members).where(self._is(project_id, subject)).values(role=str(role))

        async def work(connection: AsyncConnection) -> Member:
            if keep_admin and role is not Role.ADMIN:
                await _keep_admin(connection, project_id, subject)
            await connection.execute(change)
            return await self._get(connection, project_id, subject)

        return await self._database.write(work)

    async def remove(self, project_id: str, subject: str, *, keep_admin: bool) -> bool:
        change = sa.delete(members).where(self._is(project_id, subject))

        async def work(connection: AsyncConnection) -> bool:
            if keep_admin:
                await _keep_admin(connection, project_id, subject)
            return (await connection.execute(change)).rowcount > 0

        return await self._database.write(work)

    async def _get(self, connection: AsyncConnection, project_id: str, subject: str) -> Member:
        query = sa.select(members).where(self._is(project_id, subject))
        row = (await connection.execute(query)).mappings().first()
        if row is None:
            raise NotFound("member", subject, hint="See: aetherium member list")
        return _member(row)

    def _is(self, project_id: str, subject: str) -> sa.ColumnElement[bool]:
        return sa.and_(members.c.project_id == project_id, members.c.subject == subject, self._seen)


async def _insert(connection: AsyncConnection, key: APIKey, hashed: str) -> None:
    values = {name: getattr(key, name) for name in _KEY}
    scopes = None if key.scopes is None else sorted(key.scopes)
    await connection.execute(
        sa.insert(api_keys).values(**values, role=str(key.role), scopes=scopes, hash=hashed)
    )


async def _require_project(connection: AsyncConnection, project_id: str) -> None:
    query = sa.select(projects.c.id).where(projects.c.id == project_id)
    if await connection.scalar(query) is None:
        raise NotFound("project", project_id)


async def _keep_admin(connection: AsyncConnection, project_id: str, subject: str) -> None:
    """Raises Conflict if the member is the last administrator of the project."""
    query = (
        sa.select(members.c.subject)
        .where(members.c.project_id == project_id, members.c.role == str(Role.ADMIN))
        .order_by(members.c.subject)
        .with_for_update()  # of two administrators that remove one another at the same time one stays
    )
    if (await connection.scalars(query)).all() == [subject]:
        raise Conflict(
            f"{subject} is the project's last administrator.",
            hint="Make somebody else one first, or ask an administrator of the installation.",
            subject=subject,
        )


def _taken(key: APIKey) -> AlreadyExists:
    return AlreadyExists(f"There is a key {key.prefix} already.", hint="Try again.", prefix=key.prefix)


def _key(row: Mapping[Any, Any]) -> APIKey:
    scopes = None if row["scopes"] is None else frozenset(row["scopes"])
    return APIKey(**{name: row[name] for name in _KEY}, role=Role(row["role"]), scopes=scopes)


def _member(row: Mapping[Any, Any]) -> Member:
    return Member(row["project_id"], row["subject"], Role(row["role"]), row["created_at"], row["created_by"])


_: tuple[type[APIKeyRepository], type[MemberRepository]] = (SqlAPIKeys, SqlMembers)
