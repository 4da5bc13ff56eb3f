"""What a worker sees of a store that it shares: its own rows.

What lies on a host can only be looked after there, so a worker that tidies up must not come across the rows
of another one.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from aetherium.storage.tables import vms


def seen(table: sa.Table, worker_id: str | None) -> sa.ColumnElement[bool]:
    """The condition for rows of a table with a `worker_id`; None: all are seen."""
    return sa.true() if worker_id is None else table.c.worker_id == worker_id


def seen_of_vms(table: sa.Table, worker_id: str | None) -> sa.ColumnElement[bool]:
    """The same for a table whose rows belong to VMs."""
    if worker_id is None:
        return sa.true()
    return table.c.vm_id.in_(sa.select(vms.c.id).where(vms.c.worker_id == worker_id))


def stamped(row: dict[str, Any], worker_id: str | None) -> dict[str, Any]:
    """A new row, that of the worker."""
    return row if worker_id is None else row | {"worker_id": worker_id}
