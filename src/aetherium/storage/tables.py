"""The tables. A change here goes with a migration; a test compares the two."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class UtcTime(TypeDecorator[datetime]):
    """A moment, as whole microseconds since 1970: sorts and compares in every database alike."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> int | None:
        return None if value is None else (value - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> datetime | None:
        return None if value is None else _EPOCH + value * _MICROSECOND


metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_LIVING = sa.text("name IS NOT NULL AND state NOT IN ('stopped', 'failed')")

vms = sa.Table(
    "vms",
    metadata,
    sa.Column("id", sa.String(24), primary_key=True),
    sa.Column("name", sa.String(63)),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("driver", sa.String(32), nullable=False),
    sa.Column("image_digest", sa.String(80), nullable=False),
    sa.Column("owner", sa.String(64)),
    sa.Column("snapshot_id", sa.String(24)),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("updated_at", UtcTime, nullable=False),
    sa.Column("last_active_at", UtcTime, nullable=False),
    sa.Column("spec", sa.JSON, nullable=False),
    sa.Column("handle", sa.JSON(none_as_null=True)),
    sa.Index("uq_vms_living_name", "name", unique=True, sqlite_where=_LIVING, postgresql_where=_LIVING),
    sa.Index("ix_vms_created_at", "created_at"),
)

executions = sa.Table(
    "executions",
    metadata,
    sa.Column("id", sa.String(24), primary_key=True),
    sa.Column("vm_id", sa.ForeignKey("vms.id", ondelete="CASCADE"), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("started_at", UtcTime),
    sa.Column("ended_at", UtcTime),
    sa.Column("spec", sa.JSON, nullable=False),
    sa.Column("result", sa.JSON(none_as_null=True)),
    sa.Column("secret_names", sa.JSON, nullable=False),
    sa.Index("ix_executions_vm_id", "vm_id", "created_at"),
    sa.Index(
        "ix_executions_unfinished",
        "vm_id",
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    ),
)

snapshots = sa.Table(
    "snapshots",
    metadata,
    sa.Column("id", sa.String(24), primary_key=True),
    sa.Column("name", sa.String(63), unique=True),
    sa.Column("vm_id", sa.String(24), nullable=False),
    sa.Column("driver", sa.String(32), nullable=False),
    sa.Column("image_digest", sa.String(80), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("owner", sa.String(64)),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("resources", sa.JSON, nullable=False),
    sa.Column("driver_data", sa.JSON, nullable=False),
    sa.Column("labels", sa.JSON, nullable=False),
)

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.String(24), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("owner", sa.String(64)),
    sa.Column("vm_id", sa.String(24)),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("job", sa.JSON, nullable=False),
    sa.Index("ix_jobs_created_at", "created_at"),
)
