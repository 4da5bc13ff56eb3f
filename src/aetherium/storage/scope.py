"""Which rows a store shows.

A worker sees its own: what lies on a host can only be looked after there, so a worker that tidies up must not
come across the rows of another one. A tenant sees its project's: whatever it asks for, the rows of others are
not there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from aetherium.storage.tables import vms


@dataclass(frozen=True, slots=True)
class Scope:
    """Rows of this worker and of this project; None: of all."""

    worker_id: str | None = None
    project_id: str | None = None

    @property
    def of_project(self) -> Scope:
        """Without regard to workers."""
        return Scope(project_id=self.project_id)


EVERYTHING = Scope()


def seen(table: sa.Table, scope: Scope) -> sa.ColumnElement[bool]:
    """The condition for rows of a table with the columns that the scope asks for."""
    conditions = [
        table.c[column] == value
        for column, value in (("worker_id", scope.worker_id), ("project_id", scope.project_id))
        if value is not None
    ]
    return sa.and_(sa.true(), *conditions)


def seen_of_vms(table: sa.Table, scope: Scope) -> sa.ColumnElement[bool]:
    """The same for a table whose rows belong to VMs."""
    if scope == EVERYTHING:
        return sa.true()
    return table.c.vm_id.in_(sa.select(vms.c.id).where(seen(vms, scope)))


def stamped(row: dict[str, Any], scope: Scope) -> dict[str, Any]:
    """A new row, that of the worker."""
    return row if scope.worker_id is None else row | {"worker_id": scope.worker_id}
