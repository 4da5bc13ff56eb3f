"""The ProjectRepository in SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from aetherium.domain.errors import AlreadyExists, NotFound
from aetherium.domain.projects import Project, Quota
from aetherium.interfaces.cluster_store import ProjectRepository
from aetherium.storage.codec import dump, load
from aetherium.storage.database import Database
from aetherium.storage.finding import find_id
from aetherium.storage.scope import EVERYTHING, Scope
from aetherium.storage.tables import projects


class SqlProjects:
    """See interfaces/store.py."""

    def __init__(self, database: Database, scope: Scope = EVERYTHING) -> None:
        self._database = database
        own = scope.project_id
        self._seen = sa.true() if own is None else projects.c.id == own

    async def add(self, project: Project) -> None:
        values = {
            "id": project.id,
            "name": project.name,
            "created_at": project.created_at,
            "quota": dump(project.quota),
        }
        try:
            await self._database.write(lambda c: c.execute(sa.insert(projects).values(values)))
        except IntegrityError as error:
            raise AlreadyExists(f"There is a project {project.name!r} already.", name=project.name) from error

    async def find(self, ref: str) -> Project:
        async def work(connection: AsyncConnection) -> Project:
            found = await find_id(
                connection, projects, "project", ref, projects.c.name == ref, among=self._seen
            )
            query = sa.select(projects).where(projects.c.id == found)
            return _project((await connection.execute(query)).mappings().one())

        return await self._database.read(work)

    async def list(self) -> Sequence[Project]:
        query = sa.select(projects).where(self._seen).order_by(projects.c.name)

        async def work(connection: AsyncConnection) -> Sequence[Project]:
            return [_project(row) for row in (await connection.execute(query)).mappings()]

        return await self._database.read(work)

    async def set_quota(self, project_id: str, quota: Quota) -> Project:
        change = (
            sa.update(projects)
            .where(projects.c.id == project_id)
            .values(quota=dump(quota))
            .returning(*projects.c)
        )

        async def work(connection: AsyncConnection) -> Project:
            row = (await connection.execute(change)).mappings().first()
            if row is None:
                raise NotFound("project", project_id)
            return _project(row)

        return await self._database.write(work)


def _project(row: Mapping[Any, Any]) -> Project:
    return Project(row["id"], row["name"], row["created_at"], load(Quota, row["quota"]))


_: type[ProjectRepository] = SqlProjects
