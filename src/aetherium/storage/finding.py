"""From what people type to a row."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from aetherium.domain.errors import InvalidInput, NotFound

_SHORTEST = 6
_ALL: sa.ColumnElement[bool] = sa.true()
_PREFIX = re.compile(r"^[a-z]{2,6}_[0-9a-hjkmnp-tv-z]{0,16}$")


async def find_id(
    connection: AsyncConnection,
    table: sa.Table,
    kind: str,
    ref: str,
    by_name: sa.ColumnElement[bool] | None = None,
    order: Sequence[sa.ColumnElement[Any]] = (),
    *,
    among: sa.ColumnElement[bool] = _ALL,
) -> str:
    """The id of the row that `ref` means: by id, by name, or by a unique prefix of the id; of those that meet
    the condition `among`.

    Raises NotFound, and InvalidInput if several rows have the prefix.
    """
    column = table.c.id
    exactly = column == ref if by_name is None else sa.or_(column == ref, by_name)
    ids = sa.select(column).where(among)
    exact = await connection.scalar(ids.where(exactly).order_by(column != ref, *order).limit(1))
    if exact is not None:
        return str(exact)
    if len(ref) >= _SHORTEST and _PREFIX.match(ref):
        found = (
            await connection.scalars(
                ids.where(column.startswith(ref, autoescape=True)).order_by(column).limit(6)
            )
        ).all()
        if len(found) > 1:
            raise InvalidInput(
                f"{ref!r} fits several: {', '.join(found[:5])}{' …' if len(found) > 5 else ''}.",
                hint="Give more of the id.",
                field="ref",
            )
        if found:
            return str(found[0])
    raise NotFound(kind, ref)
