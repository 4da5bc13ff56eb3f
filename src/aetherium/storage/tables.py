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


class Text(TypeDecorator[str]):
    """What programs said, whatever it is: what databases refuse (NUL, halves of surrogate pairs) is replaced,
    for a failure whose text cannot be written could not be recorded at all."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        if value is None:
            return None
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


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
    sa.Column("worker_id", sa.String(24)),
    sa.Column("project_id", sa.String(24), nullable=False, server_default="default"),
    sa.Column("vcpus", sa.Integer, nullable=False, server_default="0"),
    sa.Column("memory_mib", sa.Integer, nullable=False, server_default="0"),
    sa.Column("disk_mib", sa.Integer, nullable=False, server_default="0"),
    sa.Column("snapshot_id", sa.String(24)),
    sa.Column("reason", Text, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("updated_at", UtcTime, nullable=False),
    sa.Column("last_active_at", UtcTime, nullable=False),
    sa.Column("spec", sa.JSON, nullable=False),
    sa.Column("handle", sa.JSON(none_as_null=True)),
    sa.Index(
        "uq_vms_living_name",
        "project_id",
        "name",
        unique=True,
        sqlite_where=_LIVING,
        postgresql_where=_LIVING,
    ),
    sa.Index("ix_vms_created_at", "created_at"),
    sa.Index("ix_vms_project", "project_id", "created_at"),
    sa.Index("ix_vms_worker_id", "worker_id"),
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
    sa.Column("name", sa.String(63)),
    sa.Column("project_id", sa.String(24), nullable=False, server_default="default"),
    sa.Column("vm_id", sa.String(24), nullable=False),
    sa.Column("driver", sa.String(32), nullable=False),
    sa.Column("image_digest", sa.String(80), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("owner", sa.String(64)),
    sa.Column("worker_id", sa.String(24)),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("reason", Text, nullable=False),
    sa.Column("resources", sa.JSON, nullable=False),
    sa.Column("driver_data", sa.JSON, nullable=False),
    sa.Column("labels", sa.JSON, nullable=False),
    sa.Index("uq_snapshots_name", "project_id", "name", unique=True),
)

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.String(24), primary_key=True),
    sa.Column("name", Text, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("owner", sa.String(64)),
    sa.Column("vm_id", sa.String(24)),
    sa.Column("worker_id", sa.String(24)),
    sa.Column("task_id", sa.String(24)),
    sa.Column("project_id", sa.String(24), nullable=False, server_default="default"),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("job", sa.JSON, nullable=False),
    sa.Index("ix_jobs_created_at", "created_at"),
    sa.Index("ix_jobs_task_id", "task_id"),
    sa.Index("ix_jobs_state", "state", "id"),
    sa.Index("ix_jobs_project", "project_id", "id"),
)

steps = sa.Table(
    "steps",
    metadata,
    sa.Column("job_id", sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("step", sa.JSON, nullable=False),
)

artifacts = sa.Table(
    "artifacts",
    metadata,
    sa.Column("job_id", sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("path", Text, primary_key=True),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("artifact", sa.JSON, nullable=False),
)

images = sa.Table(
    "images",
    metadata,
    sa.Column("digest", sa.String(80), primary_key=True),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("tags", sa.JSON, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
)

projects = sa.Table(
    "projects",
    metadata,
    sa.Column("id", sa.String(24), primary_key=True),
    sa.Column("name", sa.String(63), nullable=False, unique=True),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("quota", sa.JSON, nullable=False),
)

# The conditions of partial indexes; queries that shall use them have to repeat them word by word, without
# parameters, for neither database proves anything about those.
READY = "state = 'queued' AND worker_id IS NULL AND parked = 0"
HELD = "worker_id IS NOT NULL AND ended_at IS NULL"
DUE = "state = 'scheduled'"
OVERDUE = "deadline IS NOT NULL AND ended_at IS NULL"
GONE = "ended_at IS NOT NULL"
_GROUPED = "task_group <> ''"
_IDEMPOTENT = "idempotency_key IS NOT NULL"
_UNIQUE = "unique_key IS NOT NULL"
_TIMED = "schedule_id IS NOT NULL"


def _partial(name: str, *columns: str, where: str, unique: bool = False) -> sa.Index:
    condition = sa.text(where)
    return sa.Index(name, *columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


tasks = sa.Table(
    "tasks",
    metadata,
    sa.Column("id", sa.String(24), primary_key=True),
    sa.Column("project_id", sa.String(24), nullable=False),
    sa.Column("type", sa.String(64), nullable=False),
    sa.Column("rank", sa.SmallInteger, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("task_group", sa.String(200), nullable=False),
    sa.Column("idempotency_key", sa.String(255)),
    sa.Column("unique_key", sa.String(200)),
    sa.Column("unique_until", UtcTime),
    sa.Column("schedule_id", sa.String(24)),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("updated_at", UtcTime, nullable=False),
    sa.Column("run_at", UtcTime),
    sa.Column("ready_at", UtcTime),
    sa.Column("deadline", UtcTime),
    sa.Column("placed_at", UtcTime),
    sa.Column("started_at", UtcTime),
    sa.Column("ended_at", UtcTime),
    sa.Column("keep_s", sa.Float),
    sa.Column("parked", sa.SmallInteger, nullable=False),
    sa.Column("blockers", sa.Integer, nullable=False),
    sa.Column("worker_id", sa.String(24)),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("max_attempts", sa.Integer, nullable=False),
    sa.Column("vcpus", sa.Integer, nullable=False),
    sa.Column("memory_mib", sa.Integer, nullable=False),
    sa.Column("reason", Text, nullable=False),
    sa.Column("ok", sa.Boolean),
    sa.Column("error_code", sa.String(64), nullable=False),
    sa.Column("error", Text, nullable=False),
    sa.Column("spec", sa.JSON, nullable=False),
    sa.Column("result", sa.JSON(none_as_null=True)),
    sa.Column("sealed", sa.LargeBinary),
    _partial("ix_tasks_ready", "rank", "project_id", "type", "ready_at", "id", where=READY),
    _partial("ix_tasks_held", "worker_id", where=HELD),
    _partial("ix_tasks_due", "run_at", where=DUE),
    _partial("ix_tasks_overdue", "deadline", where=OVERDUE),
    _partial("ix_tasks_gone", "ended_at", where=GONE),
    _partial("ix_tasks_group", "task_group", "id", where=_GROUPED),
    _partial("ix_tasks_schedule", "schedule_id", "id", where=_TIMED),
    _partial("uq_tasks_idempotency", "project_id", "idempotency_key", where=_IDEMPOTENT, unique=True),
    _partial("uq_tasks_unique", "project_id", "unique_key", where=_UNIQUE, unique=True),
    sa.Index("ix_tasks_state", "state", "id"),
    sa.Index("ix_tasks_project", "project_id", "created_at"),
)

dependencies = sa.Table(
    "dependencies",
    metadata,
    sa.Column("task_id", sa.ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("after_id", sa.String(24), primary_key=True),
    sa.Index("ix_dependencies_after_id", "after_id"),
)

attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("task_id", sa.ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("started_at", UtcTime, nullable=False),
    sa.Column("ended_at", UtcTime),
    sa.Column("worker_id", sa.String(24)),
    sa.Column("error_code", sa.String(64), nullable=False),
    sa.Column("error", Text, nullable=False),
)

schedules = sa.Table(
    "schedules",
    metadata,
    sa.Column("id", sa.String(24), primary_key=True),
    sa.Column("project_id", sa.String(24), nullable=False),
    sa.Column("name", sa.String(63), nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("next_at", UtcTime),
    sa.Column("last_at", UtcTime),
    sa.Column("last_task_id", sa.String(24)),
    sa.Column("paused", sa.Boolean, nullable=False),
    sa.Column("spec", sa.JSON, nullable=False),
    sa.Index("uq_schedules_name", "project_id", "name", unique=True),
    sa.Index("ix_schedules_next_at", "next_at"),
)

workers = sa.Table(
    "workers",
    metadata,
    sa.Column("id", sa.String(24), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("incarnation", sa.Integer, nullable=False),
    sa.Column("drain", sa.Boolean, nullable=False),
    sa.Column("private", sa.Boolean, nullable=False),
    sa.Column("registered_at", UtcTime, nullable=False),
    sa.Column("seen_at", UtcTime, nullable=False),
    sa.Column("lease_until", UtcTime, nullable=False),
    sa.Column("info", sa.JSON, nullable=False),
)

queues = sa.Table(
    "queues",
    metadata,
    sa.Column("priority", sa.String(16), primary_key=True),
    sa.Column("paused", sa.Boolean, nullable=False),
)

type_limits = sa.Table(
    "type_limits",
    metadata,
    sa.Column("type", sa.String(64), primary_key=True),
    sa.Column("per_second", sa.Float),
    sa.Column("burst", sa.Integer, nullable=False),
    sa.Column("concurrency", sa.Integer),
    sa.Column("tokens", sa.Float, nullable=False),
    sa.Column("refilled_at", UtcTime, nullable=False),
)

leaders = sa.Table(
    "leaders",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("holder", sa.String(64), nullable=False),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("lease_until", UtcTime, nullable=False),
)

_EVENT = (
    ("id", sa.String(24)),
    ("type", sa.String(64)),
    ("subject", sa.String(64)),
    ("project_id", sa.String(24)),
    ("at", UtcTime),
    ("data", sa.JSON),
)
# Serial numbers: SQLite counts only INTEGER columns.
_SERIAL = sa.BigInteger().with_variant(sa.Integer, "sqlite")

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("number", _SERIAL, primary_key=True, autoincrement=True),
    *(sa.Column(name, kind, nullable=False) for name, kind in _EVENT),
)

events = sa.Table(
    "events",
    metadata,
    # Given by the relay, in the order of the log, not by a sequence, which has gaps.
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    *(sa.Column(name, kind, nullable=False) for name, kind in _EVENT),
    sa.Index("ix_events_at", "at"),
    sa.Index("ix_events_project", "project_id", "seq"),
)

idempotency = sa.Table(
    "idempotency",
    metadata,
    sa.Column("project_id", sa.String(24), primary_key=True),
    sa.Column("key", sa.String(255), primary_key=True),
    sa.Column("operation", sa.String(128), primary_key=True),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("status", sa.Integer),
    sa.Column("answer", sa.LargeBinary),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("expires_at", UtcTime, nullable=False),
    sa.Index("ix_idempotency_expires_at", "expires_at"),
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("id", sa.String(24), primary_key=True),
    # None: of the whole installation.
    sa.Column("project_id", sa.String(24)),
    sa.Column("name", sa.String(63), nullable=False),
    sa.Column("prefix", sa.String(16), nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("scopes", sa.JSON, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("created_by", sa.String(255), nullable=False),
    sa.Column("expires_at", UtcTime),
    sa.Column("used_at", UtcTime),
    sa.Column("revoked_at", UtcTime),
    sa.Index("uq_api_keys_prefix", "prefix", unique=True),
    sa.Index("ix_api_keys_project_id", "project_id"),
)

members = sa.Table(
    "members",
    metadata,
    sa.Column("project_id", sa.String(24), primary_key=True),
    sa.Column("subject", sa.String(255), primary_key=True),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("created_by", sa.String(255), nullable=False),
    sa.Index("ix_members_subject", "subject"),
)

secret_keys = sa.Table(
    "secret_keys",
    metadata,
    sa.Column("id", sa.String(24), primary_key=True),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("retired_at", UtcTime),
    sa.Column("master", sa.String(16), nullable=False),
    sa.Column("wrapped", sa.LargeBinary, nullable=False),
)

stored_secrets = sa.Table(
    "secrets",
    metadata,
    sa.Column("id", sa.String(24), primary_key=True),
    sa.Column("project_id", sa.String(24), nullable=False),
    sa.Column("scope", sa.String(16), nullable=False),
    sa.Column("target", sa.String(200), nullable=False),
    sa.Column("name", sa.String(63), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("updated_at", UtcTime, nullable=False),
    sa.Column("updated_by", sa.String(255), nullable=False),
    sa.Column("used_at", UtcTime),
    sa.Column("key_id", sa.String(24), nullable=False),
    sa.Column("wrapped", sa.LargeBinary, nullable=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    sa.Index("uq_secrets_name", "project_id", "scope", "target", "name", unique=True),
    sa.Index("ix_secrets_key_id", "key_id"),
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", UtcTime, nullable=False),
    # None: of the whole installation.
    sa.Column("project_id", sa.String(24)),
    sa.Column("actor", sa.String(255), nullable=False),
    sa.Column("action", sa.String(64), nullable=False),
    sa.Column("resource", sa.String(255), nullable=False),
    sa.Column("outcome", sa.String(64), nullable=False),
    sa.Column("address", sa.String(64), nullable=False),
    sa.Column("request_id", sa.String(64), nullable=False),
    sa.Column("data", sa.JSON, nullable=False),
    sa.Column("previous", sa.String(64), nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
    sa.Index("ix_audit_project", "project_id", "seq"),
    sa.Index("ix_audit_actor", "actor", "seq"),
    sa.Index("ix_audit_at", "at"),
)

# The end of the chain: one row, locked by whoever appends.
audit_head = sa.Table(
    "audit_head",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
    sa.Column("signature", sa.LargeBinary, nullable=False),
)

audit_checkpoints = sa.Table(
    "audit_checkpoints",
    metadata,
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
    sa.Column("key", sa.String(64), nullable=False),
    sa.Column("signature", sa.LargeBinary, nullable=False),
)
