"""What differs between a live schema and the tables, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from aetherium.interfaces.schema import Difference
from aetherium.storage.tables import metadata

# Alembic's operations would mend the database: what they add is missing.
_KINDS = {"add": "missing", "remove": "unknown"}
_WORDS = {"missing": "is missing", "unknown": "is unknown to this version"}
_THINGS = {"fk": "constraint", "table_comment": "comment"}
_ASPECTS = {"nullable": "nullability"}


def differences(connection: sa.Connection) -> Sequence[Difference]:
    """All of them; see Schema.check."""
    context = MigrationContext.configure(
        connection, opts={"compare_type": True, "compare_server_default": True}
    )
    return [found for change in compare_metadata(context, metadata) for found in _explain(change)]


def _explain(change: Any) -> Iterator[Difference]:
    """Alembic gives tuples, and lists of them for one column's aspects."""
    if isinstance(change, list):
        for aspect in change:
            yield _different(aspect)
        return
    operation, _, thing = change[0].partition("_")
    kind, thing = _KINDS[operation], _THINGS.get(thing, thing)
    name = _name(thing, change)
    yield Difference(kind, thing, name, f"The {thing} {name} {_WORDS[kind]}.")


def _different(change: Any) -> Difference:
    operation, _, table, column, _, found, wanted = change
    aspect = operation.removeprefix("modify_")
    aspect = _ASPECTS.get(aspect, aspect)
    name = f"{table}.{column}"
    message = f"The column {name} has another {aspect}: {_shown(found)} instead of {_shown(wanted)}."
    return Difference("different", "column", name, message)


def _name(thing: str, change: Any) -> str:
    if thing == "column":
        return f"{change[2]}.{change[3].name}"
    return str(change[1].name)


def _shown(value: Any) -> str:
    return str(getattr(value, "arg", value))
