"""Run by Alembic for a migration."""

from alembic import context
from sqlalchemy import create_engine, pool

from aetherium.storage.tables import metadata


def main() -> None:
    """Migrate the file that migrating.py names."""
    path = context.config.attributes["path"]
    engine = create_engine(f"sqlite:///{path}", poolclass=pool.NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
        with context.begin_transaction():
            context.run_migrations()
        connection.commit()


main()
