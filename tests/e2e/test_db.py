"""``aetherium db``, with a file and with a server."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from aetherium.storage.migrating import HEAD
from tests.e2e.conftest import CLI
from tests.integration.storage.live import on, statement

Db = Callable[..., Coroutine[Any, Any, tuple[int, Any]]]
OLDEST = "0001"


@pytest.fixture(params=["sqlite", "postgres"])
def db(request: pytest.FixtureRequest, cli: CLI, postgres_url: str) -> Db:
    """Run a command with --json, on either database: its exit code and its answer."""
    url = postgres_url if request.param == "postgres" else ""

    async def call(*words: str) -> tuple[int, Any]:
        done = await cli("db", *words, "--json", AETHERIUM_DATABASE_URL=url)
        return done.exit_code, json.loads(done.stdout)

    return call


async def test_from_nothing_up_and_down(db: Db) -> None:
    code, found = await db("check")
    assert (code, found["ok"]) == (1, False)
    assert "The table vms is missing." in [item["message"] for item in found["differences"]]

    code, done = await db("upgrade")
    assert (code, done["done"][0], done["current"]) == (0, OLDEST, HEAD)
    assert await db("check") == (0, {"ok": True, "differences": []})

    code, done = await db("downgrade", OLDEST, "--yes")
    assert (code, done["current"]) == (0, OLDEST)
    code, found = await db("current")
    assert (code, found["current"], found["head"]) == (0, OLDEST, HEAD)
    code, steps = await db("history")
    assert (code, [step["id"] for step in steps if step["applied"]]) == (0, [OLDEST])

    code, done = await db("downgrade", "base", "--yes")
    assert (code, done["done"], done["current"]) == (0, [OLDEST], None)


async def test_nobody_is_asked_who_is_not_there(db: Db) -> None:
    await db("upgrade")
    code, answer = await db("downgrade", "base")
    assert (code, answer["error"]["code"]) == (2, "invalid_input")
    assert "--yes" in answer["error"]["hint"]
    assert (await db("current"))[1]["current"] == HEAD


async def test_what_people_see(cli: CLI, postgres_url: str) -> None:
    async def said(*words: str) -> tuple[int, str]:
        done = await cli("db", *words, AETHERIUM_DATABASE_URL=postgres_url)
        return done.exit_code, done.stdout.decode()

    code, text = await said("upgrade")
    assert (code, "Done: 0001" in text) == (0, True)
    assert (await said("upgrade"))[1].endswith(f"There was nothing to do. The schema is {HEAD}.\n")
    assert (await said("check"))[1].endswith(" is as it should be.\n")
    await on(postgres_url, statement("DROP TABLE queues"))
    assert await said("check") == (1, "The table queues is missing.\n")
    assert "aetherium:***@" in (await said("current"))[1]
    assert "Durable tasks" in (await said("history"))[1]


async def test_a_downgrade_waits_for_the_end_of_up(cli: CLI) -> None:
    async with cli.daemon():
        done = await cli("db", "downgrade", "base", "--yes", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["error"]["code"] == "conflict"
    assert (await cli.json("db", "current"))["current"] == HEAD
    await cli.json("db", "downgrade", OLDEST, "--yes")
    # Whatever opens the file of a host brings it up to date.
    assert await cli.json("vm", "list") == []
    assert (await cli.json("db", "current"))["current"] == HEAD
