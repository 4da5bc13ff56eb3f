"""Durable tasks, workers, schedules, projects, queues, events, leadership; VMs and jobs of several hosts."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_BATCH = 500
_PARTS = ("steps", "artifacts")
_EVENT = (
    ("id", sa.String(24)),
    ("type", sa.String(64)),
    ("subject", sa.String(64)),
    ("project_id", sa.String(24)),
    ("at", sa.BigInteger),
    ("data", sa.JSON),
)
_TABLES = (
    "outbox", "events", "leaders", "type_limits", "queues", "workers", "schedules", "attempts",
    "dependencies", "tasks", "projects", "images", "artifacts", "steps",
)  # fmt: skip

_vms = sa.table(
    "vms", *(sa.column(name) for name in ("id", "vcpus", "memory_mib")), sa.column("spec", sa.JSON)
)
_jobs = sa.table("jobs", sa.column("id"), sa.column("job", sa.JSON))
_steps = sa.table("steps", sa.column("job_id"), sa.column("number"), sa.column("step", sa.JSON))
_artifacts = sa.table(
    "artifacts",
    *(sa.column(name) for name in ("job_id", "path", "number")),
    sa.column("artifact", sa.JSON),
)
_projects = sa.table(
    "projects", *(sa.column(name) for name in ("id", "name", "created_at")), sa.column("quota", sa.JSON)
)


def upgrade() -> None:
    """Add what a cluster needs."""
    _extend_rows()
    _create_parts()
    _create_tasks()
    _create_cluster()
    _create_events()
    _move_parts_out()
    _fill_sizes()
    # A quota without limits; as domain/projects.py was when this was written.
    names = ("tasks", "vms", "vcpus", "memory_mib", "tasks_per_minute", "waiting")
    now = int(datetime.now(UTC).timestamp() * 1_000_000)
    op.execute(
        _projects.insert().values(id="default", name="default", created_at=now, quota=dict.fromkeys(names))
    )


def downgrade() -> None:
    """Take it away; VMs, executions, snapshots and jobs stay."""
    _move_parts_in()
    for table in _TABLES:
        op.drop_table(table)
    for name, table in (
        ("ix_jobs_state", "jobs"),
        ("ix_jobs_task_id", "jobs"),
        ("ix_vms_worker_id", "vms"),
    ):
        op.drop_index(name, table)
    for table, columns in (
        ("jobs", ("worker_id", "task_id", "project_id")),
        ("snapshots", ("worker_id",)),
        ("vms", ("worker_id", "project_id", "vcpus", "memory_mib")),
    ):
        for column in columns:
            op.drop_column(table, column)


def _extend_rows() -> None:
    for table in ("vms", "snapshots", "jobs"):
        op.add_column(table, sa.Column("worker_id", sa.String(24)))
    for table in ("vms", "jobs"):
        op.add_column(table, sa.Column("project_id", sa.String(24), nullable=False, server_default="default"))
    for column in ("vcpus", "memory_mib"):
        op.add_column("vms", sa.Column(column, sa.Integer, nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("task_id", sa.String(24)))
    op.create_index("ix_vms_worker_id", "vms", ["worker_id"])
    op.create_index("ix_jobs_task_id", "jobs", ["task_id"])
    op.create_index("ix_jobs_state", "jobs", ["state", "id"])


def _create_parts() -> None:
    op.create_table(
        "steps",
        sa.Column("job_id", sa.String(24), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("step", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("job_id", "number", name="pk_steps"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_steps_job_id", ondelete="CASCADE"),
    )
    op.create_table(
        "artifacts",
        sa.Column("job_id", sa.String(24), nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("artifact", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("job_id", "path", name="pk_artifacts"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_artifacts_job_id", ondelete="CASCADE"),
    )
    op.create_table(
        "images",
        sa.Column("digest", sa.String(80), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("tags", sa.JSON, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_images"),
    )


def _create_tasks() -> None:
    op.create_table(
        "tasks",
        sa.Column("id", sa.String(24), nullable=False),
        sa.Column("project_id", sa.String(24), nullable=False),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("rank", sa.SmallInteger, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("task_group", sa.String(200), nullable=False),
        sa.Column("idempotency_key", sa.String(255)),
        sa.Column("unique_key", sa.String(200)),
        sa.Column("unique_until", sa.BigInteger),
        sa.Column("schedule_id", sa.String(24)),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("run_at", sa.BigInteger),
        sa.Column("ready_at", sa.BigInteger),
        sa.Column("deadline", sa.BigInteger),
        sa.Column("placed_at", sa.BigInteger),
        sa.Column("started_at", sa.BigInteger),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("keep_s", sa.Float),
        sa.Column("parked", sa.SmallInteger, nullable=False),
        sa.Column("blockers", sa.Integer, nullable=False),
        sa.Column("worker_id", sa.String(24)),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("max_attempts", sa.Integer, nullable=False),
        sa.Column("vcpus", sa.Integer, nullable=False),
        sa.Column("memory_mib", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("ok", sa.Boolean),
        sa.Column("error_code", sa.String(64), nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("spec", sa.JSON, nullable=False),
        sa.Column("result", sa.JSON),
        sa.Column("sealed", sa.LargeBinary),
        sa.PrimaryKeyConstraint("id", name="pk_tasks"),
    )
    _index_tasks()
    op.create_table(
        "dependencies",
        sa.Column("task_id", sa.String(24), nullable=False),
        sa.Column("after_id", sa.String(24), nullable=False),
        sa.PrimaryKeyConstraint("task_id", "after_id", name="pk_dependencies"),
        sa.ForeignKeyConstraint(
            ["task_id"], ["tasks.id"], name="fk_dependencies_task_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_dependencies_after_id", "dependencies", ["after_id"])
    op.create_table(
        "attempts",
        sa.Column("task_id", sa.String(24), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("worker_id", sa.String(24)),
        sa.Column("error_code", sa.String(64), nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("task_id", "number", name="pk_attempts"),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name="fk_attempts_task_id", ondelete="CASCADE"),
    )


def _index_tasks() -> None:
    for name, columns, condition, unique in (
        (
            "ix_tasks_ready",
            ("rank", "project_id", "type", "ready_at", "id"),
            "state = 'queued' AND worker_id IS NULL AND parked = 0",
            False,
        ),
        ("ix_tasks_held", ("worker_id",), "worker_id IS NOT NULL AND ended_at IS NULL", False),
        ("ix_tasks_due", ("run_at",), "state = 'scheduled'", False),
        ("ix_tasks_overdue", ("deadline",), "deadline IS NOT NULL AND ended_at IS NULL", False),
        ("ix_tasks_gone", ("ended_at",), "ended_at IS NOT NULL", False),
        ("ix_tasks_group", ("task_group", "id"), "task_group <> ''", False),
        ("ix_tasks_schedule", ("schedule_id", "id"), "schedule_id IS NOT NULL", False),
        ("uq_tasks_idempotency", ("project_id", "idempotency_key"), "idempotency_key IS NOT NULL", True),
        ("uq_tasks_unique", ("project_id", "unique_key"), "unique_key IS NOT NULL", True),
    ):
        where = sa.text(condition)
        op.create_index(
            name, "tasks", list(columns), unique=unique, sqlite_where=where, postgresql_where=where
        )
    op.create_index("ix_tasks_state", "tasks", ["state", "id"])
    op.create_index("ix_tasks_project", "tasks", ["project_id", "created_at"])


def _create_cluster() -> None:
    op.create_table(
        "projects",
        sa.Column("id", sa.String(24), nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("quota", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_projects"),
        sa.UniqueConstraint("name", name="uq_projects_name"),
    )
    op.create_table(
        "schedules",
        sa.Column("id", sa.String(24), nullable=False),
        sa.Column("project_id", sa.String(24), nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("next_at", sa.BigInteger),
        sa.Column("last_at", sa.BigInteger),
        sa.Column("last_task_id", sa.String(24)),
        sa.Column("paused", sa.Boolean, nullable=False),
        sa.Column("spec", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_schedules"),
    )
    op.create_index("uq_schedules_name", "schedules", ["project_id", "name"], unique=True)
    op.create_index("ix_schedules_next_at", "schedules", ["next_at"])
    op.create_table(
        "workers",
        sa.Column("id", sa.String(24), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("incarnation", sa.Integer, nullable=False),
        sa.Column("drain", sa.Boolean, nullable=False),
        sa.Column("private", sa.Boolean, nullable=False),
        sa.Column("registered_at", sa.BigInteger, nullable=False),
        sa.Column("seen_at", sa.BigInteger, nullable=False),
        sa.Column("lease_until", sa.BigInteger, nullable=False),
        sa.Column("info", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_workers"),
    )
    op.create_table(
        "queues",
        sa.Column("priority", sa.String(16), nullable=False),
        sa.Column("paused", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("priority", name="pk_queues"),
    )
    op.create_table(
        "type_limits",
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("per_second", sa.Float),
        sa.Column("burst", sa.Integer, nullable=False),
        sa.Column("concurrency", sa.Integer),
        sa.Column("tokens", sa.Float, nullable=False),
        sa.Column("refilled_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("type", name="pk_type_limits"),
    )
    op.create_table(
        "leaders",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("holder", sa.String(64), nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("lease_until", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_leaders"),
    )


def _create_events() -> None:
    serial = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "outbox",
        sa.Column("number", serial, autoincrement=True, nullable=False),
        *(sa.Column(name, kind, nullable=False) for name, kind in _EVENT),
        sa.PrimaryKeyConstraint("number", name="pk_outbox"),
    )
    op.create_table(
        "events",
        sa.Column("seq", sa.BigInteger, autoincrement=False, nullable=False),
        *(sa.Column(name, kind, nullable=False) for name, kind in _EVENT),
        sa.PrimaryKeyConstraint("seq", name="pk_events"),
    )
    op.create_index("ix_events_at", "events", ["at"])


def _move_parts_out() -> None:
    """Steps and artifacts of jobs go from their JSON value into tables."""
    for rows in _batches(_jobs):
        op.get_bind().execute(
            _jobs.update()
            .where(_jobs.c.id == sa.bindparam("row"))
            .values(job=sa.bindparam("value", type_=sa.JSON)),
            [
                {"row": row.id, "value": {key: part for key, part in row.job.items() if key not in _PARTS}}
                for row in rows
            ],
        )
        steps = [
            {"job_id": row.id, "number": number, "step": step}
            for row in rows
            for number, step in enumerate(row.job.get("steps", ()))
        ]
        artifacts = {
            (row.id, part["path"]): {
                "job_id": row.id,
                "path": part["path"],
                "number": number,
                "artifact": part,
            }
            for row in rows
            for number, part in enumerate(row.job.get("artifacts", ()))
        }
        for table, values in ((_steps, steps), (_artifacts, list(artifacts.values()))):
            if values:
                op.get_bind().execute(table.insert(), values)


def _move_parts_in() -> None:
    """And back."""
    bind = op.get_bind()
    for rows in _batches(_jobs):
        for row in rows:
            parts = {
                "steps": sa.select(_steps.c.step).where(_steps.c.job_id == row.id).order_by(_steps.c.number),
                "artifacts": sa.select(_artifacts.c.artifact)
                .where(_artifacts.c.job_id == row.id)
                .order_by(_artifacts.c.number),
            }
            job = {**row.job, **{name: list(bind.scalars(query)) for name, query in parts.items()}}
            bind.execute(_jobs.update().where(_jobs.c.id == row.id).values(job=job))


def _fill_sizes() -> None:
    """The sizes of VMs, which sums are made of."""
    for rows in _batches(_vms):
        sizes = [
            {
                "row": row.id,
                "cpus": row.spec["resources"]["vcpus"],
                "mib": row.spec["resources"]["memory_mib"],
            }
            for row in rows
        ]
        op.get_bind().execute(
            _vms.update()
            .where(_vms.c.id == sa.bindparam("row"))
            .values(vcpus=sa.bindparam("cpus"), memory_mib=sa.bindparam("mib")),
            sizes,
        )


def _batches(table: sa.TableClause) -> Iterator[Sequence[sa.Row[Any]]]:
    """All rows, by id; memory holds a few at a time."""
    last = ""
    while True:
        query = sa.select(table).where(table.c.id > last).order_by(table.c.id).limit(_BATCH)
        rows = op.get_bind().execute(query).all()
        if not rows:
            return
        yield rows
        last = rows[-1].id
