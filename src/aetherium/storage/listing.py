"""What lists of rows have in common: an order to go on in, a time of creation, labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa

Q = TypeVar("Q", bound=sa.Select[Any])


def in_order(query: Q, column: sa.ColumnElement[str], before: str, *, oldest_first: bool) -> Q:
    """By id, which is by time of creation; only what comes behind the id `before`."""
    if before:
        query = query.where(column > before if oldest_first else column < before)
    return query.order_by(column if oldest_first else column.desc())


def created(
    table: sa.Table, after: datetime | None, before: datetime | None
) -> Sequence[sa.ColumnElement[bool]]:
    """From `after` on, and until `before`, without that moment itself."""
    found: list[sa.ColumnElement[bool]] = []
    if after is not None:
        found.append(table.c.created_at >= after)
    if before is not None:
        found.append(table.c.created_at < before)
    return found


def labelled(
    value: sa.Column[Any], path: tuple[str, ...], labels: Mapping[str, str]
) -> Sequence[sa.ColumnElement[bool]]:
    """Rows whose JSON `value` has all these labels in the object at `path`."""
    return [value[(*path, key)].as_string() == wanted for key, wanted in sorted(labels.items())]
