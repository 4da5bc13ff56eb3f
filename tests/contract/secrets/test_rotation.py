"""Keys are replaced while secrets are set and used, over kill -9, on both databases."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from aetherium.domain.errors import Unavailable
from aetherium.domain.secrets import Place, SecretRef
from aetherium.process import run
from aetherium.services.secrets.database import DatabaseSecrets
from aetherium.services.secrets.envelope import MasterKeys
from tests.contract.secrets.contract import PROJECT, TOKEN
from tests.contract.store.conftest import sqlite_file, sqlite_template
from tests.contract.store.databases import Stores
from tests.fixtures.secrets import MASTER
from tests.fixtures.waiting import eventually

__all__ = ["sqlite_file", "sqlite_template"]

# Three batches and a bit.
MANY = 310


@pytest.fixture(params=["sqlite", "postgres"])
def where(request: pytest.FixtureRequest) -> Path | str:
    name = {"sqlite": "sqlite_file", "postgres": "postgres_store_url"}[request.param]
    found: Path | str = request.getfixturevalue(name)
    return found


@pytest.fixture
async def stores(where: Path | str) -> AsyncIterator[Stores]:
    async with Stores(where) as stores:
        yield stores


def provider(stores: Stores, master: str = MASTER, previous: str | None = None) -> DatabaseSecrets:
    """As another process has it."""
    return DatabaseSecrets(stores.of_another_process(), MasterKeys(master, previous))


async def filled(secrets: DatabaseSecrets, count: int = MANY) -> dict[str, str]:
    """Name and value of as many secrets."""
    wanted = {f"S{number}": f"value {number}" for number in range(count)}
    for name, value in wanted.items():
        await secrets.set(SecretRef(PROJECT, name), value, by="")
    return wanted


async def opened(secrets: DatabaseSecrets, wanted: Mapping[str, str]) -> dict[str, str]:
    """What executions would be given."""
    found = await secrets.open(PROJECT, wanted.keys(), Place())
    return {name: each.value for name, each in found.items()}


@asynccontextmanager
async def setting_and_using(secrets: DatabaseSecrets) -> AsyncIterator[list[int]]:
    """Secrets are set and opened during the block, without a pause; the versions."""
    versions: list[int] = []

    async def go_on() -> None:
        while True:
            secret = await secrets.set(TOKEN, f"value {len(versions) + 1}", by="")
            versions.append(secret.version)
            assert await opened(secrets, {"TOKEN": ""}) == {"TOKEN": f"value {secret.version}"}

    running = asyncio.ensure_future(go_on())
    try:
        yield versions
    finally:
        running.cancel()
        (ended,) = await asyncio.gather(running, return_exceptions=True)
        assert isinstance(ended, asyncio.CancelledError), ended


async def test_all_data_keys_are_under_the_new_key(stores: Stores) -> None:
    secrets = provider(stores)
    wanted = await filled(secrets)
    (old,) = await stores.store.secret_keys.list()
    sealed = {each.secret.id: each.value for each in await stores.store.secrets.sealed(PROJECT, wanted)}
    rotation = await secrets.rotate_key()
    assert (rotation.wrapped, rotation.retired, rotation.remastered) == (MANY, (old.id,), 0)
    assert [key.id for key in await stores.store.secret_keys.list()] == [rotation.key_id]
    for each in await stores.store.secrets.sealed(PROJECT, wanted):
        before = sealed[each.secret.id]
        assert each.value.key_id == rotation.key_id != before.key_id
        assert (each.value.sealed, each.secret.version) == (before.sealed, 1)
        assert each.value.wrapped != before.wrapped
    assert await opened(provider(stores), wanted) == wanted


async def test_the_first_rotation_needs_no_secret(stores: Stores) -> None:
    rotation = await provider(stores).rotate_key()
    assert (rotation.wrapped, len(rotation.retired)) == (0, 1)


async def test_secrets_are_set_and_used_meanwhile(stores: Stores) -> None:
    secrets = provider(stores)
    wanted = await filled(secrets)
    async with setting_and_using(provider(stores)) as versions:
        for _ in range(3):
            await secrets.rotate_key()
            before = len(versions)

            async def another(before: int = before) -> bool:
                return len(versions) > before

            await eventually(another)
    assert versions == list(range(1, len(versions) + 1))
    assert await opened(secrets, wanted) == wanted
    await secrets.rotate_key()
    assert len(await stores.store.secret_keys.list()) == 1


async def test_rotations_at_once(stores: Stores) -> None:
    wanted = await filled(provider(stores))
    done = await asyncio.gather(*(provider(stores).rotate_key() for _ in range(3)))
    assert len(await stores.store.secret_keys.list()) == 1
    assert await opened(provider(stores), wanted) == wanted
    retired = [key for rotation in done for key in rotation.retired]
    assert len(retired) == len(set(retired))


@pytest.mark.parametrize(
    ("batches", "when", "moved"), [(1, "before", 0), (2, "before", 100), (2, "after", 200)]
)
async def test_killed_in_the_middle(
    where: Path | str, stores: Stores, batches: int, when: str, moved: int
) -> None:
    secrets = provider(stores)
    wanted = await filled(secrets)
    (old,) = await stores.store.secret_keys.list()
    argv = [sys.executable, "-m", "tests.contract.secrets.rotating", str(where), MASTER, str(batches), when]
    killed = await run(argv, check=False)
    assert killed.exit_code == -signal.SIGKILL, killed.stderr
    new, still = await stores.store.secret_keys.list()
    assert still.id == old.id
    left = await stores.store.secrets.elsewhere(new.id, limit=MANY)
    assert len(left) == MANY - moved
    assert await opened(provider(stores), wanted) == wanted
    changed = await secrets.set(SecretRef(PROJECT, "S0"), "newer", by="")
    assert changed.version == 2
    rotation = await provider(stores).rotate_key()
    assert (rotation.key_id, rotation.retired) == (new.id, (old.id,))
    assert await opened(provider(stores), wanted) == wanted | {"S0": "newer"}


async def test_a_new_master_key(stores: Stores) -> None:
    wanted = await filled(provider(stores), 3)
    with pytest.raises(Unavailable, match="master_key_previous"):
        await opened(provider(stores, "another master key"), wanted)
    both = provider(stores, "another master key", MASTER)
    assert await opened(both, wanted) == wanted
    rotation = await both.rotate_key(master=True)
    assert (rotation.remastered, rotation.wrapped, rotation.retired) == (1, 0, ())
    assert await opened(provider(stores, "another master key"), wanted) == wanted
    with pytest.raises(Unavailable):
        await opened(provider(stores), wanted)
    assert (await both.rotate_key(master=True)).remastered == 0


async def test_both_at_once_a_new_key_and_a_new_master_key(stores: Stores) -> None:
    wanted = await filled(provider(stores), 3)
    rotation = await provider(stores, "another master key", MASTER).rotate_key()
    assert (rotation.remastered, rotation.wrapped, len(rotation.retired)) == (1, 3, 1)
    assert await opened(provider(stores, "another master key"), wanted) == wanted
