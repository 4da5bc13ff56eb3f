"""API keys: made, verified, rotated, revoked."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aetherium.domain.errors import Conflict, InvalidInput, NotFound
from aetherium.domain.identity import Role
from aetherium.domain.projects import DEFAULT_PROJECT
from aetherium.services.identity.keys import TRUST_S, KeyService, hash_of, prefix_of
from aetherium.testing.clock import MockClock
from tests.contract.store.databases import Stores
from tests.fixtures.waiting import eventually
from tests.unit.services.identity.conftest import Seconds


@pytest.fixture
def clock() -> MockClock:
    return MockClock()


@pytest.fixture
def keys(stores: Stores, seconds: Seconds, clock: MockClock) -> KeyService:
    return KeyService(stores.store, clock, seconds)


async def made(keys: KeyService, **changes: Any) -> Any:
    values: dict[str, Any] = {"project_id": DEFAULT_PROJECT, "role": Role.OPERATOR, "by": "local", **changes}
    return await keys.create("ci", **values)


async def test_a_key_is_verified_and_its_text_is_kept_nowhere(keys: KeyService, stores: Stores) -> None:
    issued = await made(keys)
    assert prefix_of(issued.secret) == issued.key.prefix
    assert await keys.verify(issued.secret) == issued.key
    assert issued.secret not in repr(issued)
    found = await stores.store.api_keys.valid(issued.key.prefix)
    assert found == (issued.key, hash_of(issued.secret))


@pytest.mark.parametrize("change", ["", "aek_", "x", "aek_00000000_" + "A" * 43])
async def test_what_is_no_key_is_nobodys(keys: KeyService, change: str) -> None:
    assert await keys.verify(change) is None


async def test_another_secret_behind_a_known_prefix_is_refused(keys: KeyService) -> None:
    issued = await made(keys)
    last = "A" if issued.secret[-1] != "A" else "B"
    assert await keys.verify(issued.secret[:-1] + last) is None
    assert await keys.verify(issued.secret + "\n") is None


async def test_a_revoked_key_is_refused_at_once_here_and_soon_elsewhere(
    keys: KeyService, stores: Stores, seconds: Seconds, clock: MockClock
) -> None:
    elsewhere = KeyService(stores.store, clock, seconds)
    issued = await made(keys)
    assert await keys.verify(issued.secret) is not None
    assert await elsewhere.verify(issued.secret) is not None
    await keys.revoke("ci")
    assert await keys.verify(issued.secret) is None
    seconds.at += TRUST_S
    assert await elsewhere.verify(issued.secret) is None


async def test_a_key_that_is_revoked_while_it_is_looked_up_is_not_remembered(
    keys: KeyService, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    issued = await made(keys)
    found = await stores.store.api_keys.valid(issued.key.prefix)
    asked, answered = asyncio.Event(), asyncio.Event()

    async def slow(_: str) -> Any:
        asked.set()
        await answered.wait()
        return found

    with monkeypatch.context() as patch:
        patch.setattr(stores.store.api_keys, "valid", slow)
        verifying = asyncio.ensure_future(keys.verify(issued.secret))
        await asked.wait()
        await keys.revoke(issued.key.id)
        answered.set()
        await verifying
    assert await keys.verify(issued.secret) is None


async def test_both_are_valid_while_a_key_is_rotated(keys: KeyService, stores: Stores) -> None:
    issued = await made(keys, scopes=frozenset({"vms:read"}), expires_in_s=1000.0)
    new = await keys.rotate(issued.key.id, grace_s=60.0, by="key:other")
    assert (new.key.name, new.key.role, new.key.scopes) == ("ci", Role.OPERATOR, frozenset({"vms:read"}))
    assert new.key.created_by == "key:other"
    assert new.key.expires_at is not None
    assert (new.key.expires_at - new.key.created_at).total_seconds() == 1000
    for secret in (issued.secret, new.secret):
        assert await keys.verify(secret) is not None
    stores.let_pass(61.0)
    await keys.revoke(new.key.id)
    assert await keys.verify(issued.secret) is not None, "still remembered"


async def test_what_is_not_valid_cannot_be_rotated(keys: KeyService) -> None:
    issued = await made(keys)
    await keys.revoke(issued.key.id)
    with pytest.raises(Conflict):
        await keys.rotate(issued.key.id, by="local")
    with pytest.raises(InvalidInput):
        await keys.rotate(issued.key.id, grace_s=-1.0, by="local")


@pytest.mark.parametrize(
    "changes",
    [
        {"project_id": None},
        {"expires_in_s": 0.0},
        {"expires_in_s": 1e12},
        {"scopes": frozenset({"vm:read"})},
    ],
)
async def test_what_makes_no_sense_is_refused(keys: KeyService, changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        await made(keys, **changes)


async def test_names_and_projects_are_checked(keys: KeyService) -> None:
    with pytest.raises(InvalidInput):
        await keys.create("-", project_id=DEFAULT_PROJECT, role=Role.VIEWER, by="local")
    with pytest.raises(NotFound):
        await made(keys, project_id="prj_0000000000000000")


async def test_uses_are_written_now_and_then_and_at_the_end(
    keys: KeyService, stores: Stores, clock: MockClock
) -> None:
    issued = await made(keys)
    writing = asyncio.ensure_future(keys.run())
    await eventually(lambda: _true(clock.sleeping == 1))
    await keys.verify(issued.secret)
    assert (await keys.get("ci")).used_at is None
    clock.advance(60.0)
    await eventually(lambda: _used(keys, issued.key.id))
    first = (await keys.get("ci")).used_at
    stores.let_pass(30.0)
    await keys.verify(issued.secret)
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    last = (await keys.get("ci")).used_at
    assert first is not None
    assert last is not None
    assert last > first


async def _true(holds: bool) -> bool:
    return holds


async def _used(keys: KeyService, key_id: str) -> bool:
    return (await keys.get(key_id)).used_at is not None
