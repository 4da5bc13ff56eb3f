"""Tenants apart: names in projects, keys, members, secrets, the audit log, repeated requests."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_LIVING = sa.text("name IS NOT NULL AND state NOT IN ('stopped', 'failed')")
_TABLES = (
    "audit_checkpoints", "audit_head", "audit", "secrets", "secret_keys", "members", "api_keys",
    "idempotency",
)  # fmt: skip

# Rows of these are added and never changed.
_APPENDED = ("audit", "audit_checkpoints")

_vms = sa.table("vms", sa.column("id"), sa.column("disk_mib"), sa.column("spec", sa.JSON))


def upgrade() -> None:
    """Add what tenants need."""
    op.add_column("vms", sa.Column("disk_mib", sa.Integer, nullable=False, server_default="0"))
    op.drop_index("uq_vms_living_name", "vms")
    _name_vms("project_id", "name")
    op.create_index("ix_vms_project", "vms", ["project_id", "created_at"])
    op.create_index("ix_jobs_project", "jobs", ["project_id", "id"])
    op.create_index("ix_events_project", "events", ["project_id", "seq"])
    with op.batch_alter_table("snapshots") as batch:
        batch.add_column(sa.Column("project_id", sa.String(24), nullable=False, server_default="default"))
        batch.drop_constraint("uq_snapshots_name", type_="unique")
    op.create_index("uq_snapshots_name", "snapshots", ["project_id", "name"], unique=True)
    _fill_disks()
    _create_idempotency()
    _create_identities()
    _create_secrets()
    _create_audit()


def downgrade() -> None:
    """Take it away. Of things that have one name in several projects, all but the oldest lose it."""
    for table in _TABLES:
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION refuse_change()")
    for table in ("vms", "snapshots"):
        op.execute(
            f"UPDATE {table} SET name = NULL WHERE name IN"  # noqa: S608 - names of ours
            f" (SELECT twin.name FROM {table} AS twin WHERE twin.name IS NOT NULL AND twin.id < {table}.id"
            f" AND twin.project_id <> {table}.project_id)"
        )
    op.drop_index("uq_snapshots_name", "snapshots")
    with op.batch_alter_table("snapshots") as batch:
        batch.drop_column("project_id")
        batch.create_unique_constraint("uq_snapshots_name", ["name"])
    op.drop_index("ix_events_project", "events")
    op.drop_index("ix_jobs_project", "jobs")
    op.drop_index("ix_vms_project", "vms")
    op.drop_index("uq_vms_living_name", "vms")
    _name_vms("name")
    op.drop_column("vms", "disk_mib")


def _name_vms(*columns: str) -> None:
    op.create_index(
        "uq_vms_living_name",
        "vms",
        list(columns),
        unique=True,
        sqlite_where=_LIVING,
        postgresql_where=_LIVING,
    )


def _fill_disks() -> None:
    """The sizes of disks, which sums are made of. Hosts have few VMs: all fit into memory."""
    connection = op.get_bind()
    rows = connection.execute(sa.select(_vms.c.id, _vms.c.spec)).all()
    if rows:
        connection.execute(
            sa.update(_vms).where(_vms.c.id == sa.bindparam("row")).values(disk_mib=sa.bindparam("mib")),
            [{"row": row.id, "mib": row.spec["resources"]["disk_mib"]} for row in rows],
        )


def _create_idempotency() -> None:
    op.create_table(
        "idempotency",
        sa.Column("project_id", sa.String(24), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("operation", sa.String(128), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("answer", sa.LargeBinary),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("project_id", "key", "operation", name="pk_idempotency"),
    )
    op.create_index("ix_idempotency_expires_at", "idempotency", ["expires_at"])


def _create_identities() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(24), nullable=False),
        sa.Column("project_id", sa.String(24)),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("prefix", sa.String(16), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("scopes", sa.JSON, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("created_by", sa.String(255), nullable=False),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("used_at", sa.BigInteger),
        sa.Column("revoked_at", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
    )
    op.create_index("uq_api_keys_prefix", "api_keys", ["prefix"], unique=True)
    op.create_index("ix_api_keys_project_id", "api_keys", ["project_id"])
    op.create_table(
        "members",
        sa.Column("project_id", sa.String(24), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("created_by", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "subject", name="pk_members"),
    )
    op.create_index("ix_members_subject", "members", ["subject"])


def _create_secrets() -> None:
    op.create_table(
        "secret_keys",
        sa.Column("id", sa.String(24), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("retired_at", sa.BigInteger),
        sa.Column("master", sa.String(16), nullable=False),
        sa.Column("wrapped", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_secret_keys"),
    )
    op.create_table(
        "secrets",
        sa.Column("id", sa.String(24), nullable=False),
        sa.Column("project_id", sa.String(24), nullable=False),
        sa.Column("scope", sa.String(16), nullable=False),
        sa.Column("target", sa.String(200), nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("updated_by", sa.String(255), nullable=False),
        sa.Column("used_at", sa.BigInteger),
        sa.Column("key_id", sa.String(24), nullable=False),
        sa.Column("wrapped", sa.LargeBinary, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_secrets"),
    )
    op.create_index("uq_secrets_name", "secrets", ["project_id", "scope", "target", "name"], unique=True)
    op.create_index("ix_secrets_key_id", "secrets", ["key_id"])


def _create_audit() -> None:
    op.create_table(
        "audit",
        sa.Column("seq", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("at", sa.BigInteger, nullable=False),
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
        sa.PrimaryKeyConstraint("seq", name="pk_audit"),
    )
    op.create_index("ix_audit_project", "audit", ["project_id", "seq"])
    op.create_index("ix_audit_actor", "audit", ["actor", "seq"])
    op.create_index("ix_audit_at", "audit", ["at"])
    op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("signature", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_head"),
    )
    op.create_table(
        "audit_checkpoints",
        sa.Column("seq", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("signature", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_audit_checkpoints"),
    )
    _refuse_changes()


def _refuse_changes() -> None:
    """Whoever means to change the log has to take the triggers away first, and cannot do it by mistake."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'Nothing of % is changed.', TG_TABLE_NAME; END $$"
        )
        for table in _APPENDED:
            op.execute(
                f"CREATE TRIGGER {table}_refuse BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
                " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
            )
        return
    for table in _APPENDED:
        # REPLACE deletes without a trigger, so a number that is taken is refused before that.
        taken = f" WHEN EXISTS (SELECT 1 FROM {table} WHERE seq = NEW.seq)"  # noqa: S608 - a name of ours
        for name, when in (("update", ""), ("delete", ""), ("insert", taken)):
            op.execute(
                f"CREATE TRIGGER {table}_refuse_{name} BEFORE {name.upper()} ON {table}{when}"
                f" BEGIN SELECT RAISE(ABORT, 'Nothing of {table} is changed.'); END"
            )
