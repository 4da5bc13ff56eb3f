"""What migrations have to do in every database. Subclasses give the fixtures `database` and `schema`."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import sqlalchemy as sa

from aetherium.domain.errors import Conflict, InvalidInput, Unavailable
from aetherium.interfaces.schema import BASE, Schema
from aetherium.storage import migrations
from aetherium.storage.migrating import HEAD
from aetherium.storage.tables import metadata
from tests.integration.storage.live import Content, catalog, content, fill, on, statement

REVISIONS = sorted(file.name[:4] for file in Path(migrations.__path__[0], "versions").glob("0*.py"))
STEPS = list(pairwise([BASE, *REVISIONS]))


class MigrationsContract:
    """All of it."""

    @pytest.mark.parametrize(("older", "newer"), STEPS)
    async def test_what_the_older_schema_holds_survives_up_and_down(
        self, schema: Schema, database: Path | str, older: str, newer: str
    ) -> None:
        await _go(schema, older)
        if older != BASE:
            await on(database, fill)
        before = await on(database, content)
        assert await schema.upgrade(newer) == [newer]
        assert await schema.downgrade(older) == [newer]
        assert await on(database, content) == before

    @pytest.mark.parametrize(("older", "newer"), STEPS)
    async def test_with_data_in_all_tables_down_and_up(
        self, schema: Schema, database: Path | str, older: str, newer: str
    ) -> None:
        await _go(schema, older)
        kept = await on(database, _columns)
        await schema.upgrade(newer)
        await on(database, fill)
        before = await on(database, content)
        await schema.downgrade(older)
        await schema.upgrade(newer)
        assert _only(await on(database, content), kept) == _only(before, kept)

    async def test_the_migrations_make_what_the_tables_say(
        self, schema: Schema, database: Path | str
    ) -> None:
        await schema.upgrade()
        assert await schema.check() == []
        migrated = await on(database, catalog)
        await schema.downgrade(BASE)
        await on(database, metadata.create_all)
        assert migrated == await on(database, catalog)

    async def test_one_that_fails_leaves_all_as_it_was(self, schema: Schema, database: Path | str) -> None:
        await schema.upgrade("0001")
        # The last table that the next revision makes.
        await on(database, statement("CREATE TABLE events (n int)"))
        await on(database, fill)
        before = await on(database, catalog), await on(database, content)
        with pytest.raises(Unavailable, match="events"):
            await schema.upgrade("0002")
        assert (await on(database, catalog), await on(database, content)) == before
        assert await schema.current() == "0001"

    async def test_history_tells_what_is_applied(self, schema: Schema) -> None:
        assert {step.id: step.applied for step in await schema.history()} == dict.fromkeys(REVISIONS, False)
        await schema.upgrade("0001")
        found = await schema.history()
        assert [step.id for step in found if step.applied] == ["0001"]
        assert all(step.text for step in found)

    async def test_there_and_not_further(self, schema: Schema) -> None:
        assert await schema.upgrade() == REVISIONS
        assert await schema.upgrade() == []
        assert await schema.downgrade(HEAD) == []
        assert await schema.downgrade(BASE) == REVISIONS[::-1]
        assert await schema.current() is None

    @pytest.mark.parametrize("wrong", ["9999", "", "head", "-1", "%s"])
    async def test_a_revision_that_is_none_is_refused(self, schema: Schema, wrong: str) -> None:
        for way in (schema.upgrade, schema.downgrade):
            with pytest.raises(InvalidInput, match="There is no revision"):
                await way(wrong)

    async def test_the_other_direction_is_refused(self, schema: Schema) -> None:
        await schema.upgrade("0001")
        with pytest.raises(InvalidInput, match="aetherium db upgrade 0002"):
            await schema.downgrade("0002")
        await schema.upgrade()
        with pytest.raises(InvalidInput, match="aetherium db downgrade 0001"):
            await schema.upgrade("0001")

    async def test_a_newer_database_is_left_alone(self, schema: Schema, database: Path | str) -> None:
        await schema.upgrade()
        await on(database, statement("UPDATE alembic_version SET version_num = '9999'"))
        for change in (schema.upgrade(), schema.downgrade(BASE), schema.history()):
            with pytest.raises(Conflict, match="newer version"):
                await change
        assert await schema.current() == "9999"

    async def test_an_empty_database_lacks_all_tables(self, schema: Schema) -> None:
        missing = {
            item.name for item in await schema.check() if (item.kind, item.thing) == ("missing", "table")
        }
        assert missing == set(metadata.tables)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ("DROP INDEX ix_tasks_ready", "The index ix_tasks_ready is missing."),
            ("CREATE INDEX mine ON tasks (state)", "The index mine is unknown to this version."),
            ("DROP TABLE queues", "The table queues is missing."),
            ("CREATE TABLE mine (n int)", "The table mine is unknown to this version."),
            ("ALTER TABLE vms ADD COLUMN mine int", "The column vms.mine is unknown to this version."),
            ("ALTER TABLE vms DROP COLUMN vcpus", "The column vms.vcpus is missing."),
        ],
    )
    async def test_differences_are_told(
        self, schema: Schema, database: Path | str, change: str, message: str
    ) -> None:
        await schema.upgrade()
        await on(database, statement(change))
        assert [item.message for item in await schema.check()] == [message]


async def _go(schema: Schema, to: str) -> None:
    """Make an empty database of that revision."""
    await schema.upgrade()
    await schema.downgrade(to)


def _columns(connection: sa.Connection) -> dict[str, set[str]]:
    inspector = sa.inspect(connection)
    return {
        table: {column["name"] for column in inspector.get_columns(table)}
        for table in inspector.get_table_names()
    }


def _only(found: Content, columns: dict[str, set[str]]) -> Content:
    """What the older schema has a place for."""
    return {
        table: [{name: row[name] for name in row.keys() & columns[table]} for row in rows]
        for table, rows in found.items()
        if table in columns
    }
