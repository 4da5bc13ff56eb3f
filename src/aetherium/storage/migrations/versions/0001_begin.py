"""VMs, executions, snapshots and jobs."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_LIVING = sa.text("name IS NOT NULL AND state NOT IN ('stopped', 'failed')")
_UNFINISHED = sa.text("ended_at IS NULL")


def upgrade() -> None:
    """Make the first tables."""
    op.create_table(
        "vms",
        sa.Column("id", sa.String(24), nullable=False),
        sa.Column("name", sa.String(63)),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("driver", sa.String(32), nullable=False),
        sa.Column("image_digest", sa.String(80), nullable=False),
        sa.Column("owner", sa.String(64)),
        sa.Column("snapshot_id", sa.String(24)),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("last_active_at", sa.BigInteger, nullable=False),
        sa.Column("spec", sa.JSON, nullable=False),
        sa.Column("handle", sa.JSON),
        sa.PrimaryKeyConstraint("id", name="pk_vms"),
    )
    op.create_index(
        "uq_vms_living_name", "vms", ["name"], unique=True, sqlite_where=_LIVING, postgresql_where=_LIVING
    )
    op.create_index("ix_vms_created_at", "vms", ["created_at"])
    op.create_table(
        "executions",
        sa.Column("id", sa.String(24), nullable=False),
        sa.Column("vm_id", sa.String(24), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("started_at", sa.BigInteger),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("spec", sa.JSON, nullable=False),
        sa.Column("result", sa.JSON),
        sa.Column("secret_names", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_executions"),
        sa.ForeignKeyConstraint(["vm_id"], ["vms.id"], name="fk_executions_vm_id", ondelete="CASCADE"),
    )
    op.create_index("ix_executions_vm_id", "executions", ["vm_id", "created_at"])
    op.create_index(
        "ix_executions_unfinished",
        "executions",
        ["vm_id"],
        sqlite_where=_UNFINISHED,
        postgresql_where=_UNFINISHED,
    )
    op.create_table(
        "snapshots",
        sa.Column("id", sa.String(24), nullable=False),
        sa.Column("name", sa.String(63)),
        sa.Column("vm_id", sa.String(24), nullable=False),
        sa.Column("driver", sa.String(32), nullable=False),
        sa.Column("image_digest", sa.String(80), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("owner", sa.String(64)),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("resources", sa.JSON, nullable=False),
        sa.Column("driver_data", sa.JSON, nullable=False),
        sa.Column("labels", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_snapshots"),
        sa.UniqueConstraint("name", name="uq_snapshots_name"),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(24), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("owner", sa.String(64)),
        sa.Column("vm_id", sa.String(24)),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("job", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
    )
    op.create_index("ix_jobs_created_at", "jobs", ["created_at"])


def downgrade() -> None:
    """Drop everything."""
    for table in ("jobs", "snapshots", "executions", "vms"):
        op.drop_table(table)
