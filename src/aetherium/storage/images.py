"""The ImageRepository in SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from aetherium.interfaces.cluster_store import ImageRepository
from aetherium.storage.database import Database
from aetherium.storage.tables import images


class SqlImages:
    """See interfaces/store.py."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def tags(self) -> Mapping[str, str]:
        query = sa.select(images.c.digest, images.c.tags)

        async def work(connection: AsyncConnection) -> Mapping[str, str]:
            return {tag: row[0] for row in await connection.execute(query) for tag in row[1]}

        return await self._database.read(work)

    async def record(self, digest: str, tags: Sequence[str], size_bytes: int) -> None:
        async def work(connection: AsyncConnection) -> None:
            query = sa.select(images.c.digest, images.c.tags).with_for_update()
            for other, had in (await connection.execute(query)).all():
                left = [tag for tag in had if tag not in tags]
                if other != digest and left != list(had):
                    await connection.execute(
                        sa.update(images).where(images.c.digest == other).values(tags=left)
                    )
            values = {"tags": list(tags), "size_bytes": size_bytes}
            await connection.execute(
                self._database.insert(images)
                .values(digest=digest, created_at=self._database.moment(), **values)
                .on_conflict_do_update(index_elements=[images.c.digest], set_=values)
            )

        await self._database.write(work)

    async def forget(self, digest: str) -> None:
        change = sa.delete(images).where(images.c.digest == digest)
        await self._database.write(lambda c: c.execute(change))


_: type[ImageRepository] = SqlImages
