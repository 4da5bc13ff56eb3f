"""Run by Alembic for a migration."""

from alembic import context

from aetherium.storage.tables import metadata


def main() -> None:
    """Migrate over the connection of schema.py, whose transaction this is part of."""
    connection = context.config.attributes["connection"]
    # SQLite changes a table by making it again.
    batch = connection.dialect.name == "sqlite"
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=batch)
    with context.begin_transaction():
        context.run_migrations()


main()
