"""What a store has to do for secrets and the keys that they are wrapped under."""

from __future__ import annotations

import asyncio

import pytest

from aetherium.domain.errors import Conflict, NotFound
from aetherium.domain.ids import new_id
from aetherium.domain.secrets import SecretRef, SecretScope
from aetherium.interfaces.secrets import SealedValue, WrappedKey
from aetherium.interfaces.store import Store
from tests.contract.store.databases import Stores

PROJECT = "prj_0000000000000000"
TOKEN = SecretRef(PROJECT, "TOKEN")


async def a_key(store: Store, after: str | None = None) -> WrappedKey:
    """A further key."""
    return await store.secret_keys.add(WrappedKey(new_id("kek"), "0" * 16, b"wrapped"), after=after)


class Sealing:
    """Seals in name only; notes what it was given."""

    def __init__(self, key: WrappedKey) -> None:
        self._key = key
        self.asked: list[tuple[str, int]] = []

    def __call__(self, secret_id: str, version: int) -> SealedValue:
        self.asked.append((secret_id, version))
        return SealedValue(self._key.id, f"data key {version}".encode(), f"value {version}".encode())


class SecretsContract:
    """Secrets, and keys."""

    async def test_each_value_of_a_secret_has_the_next_version(self, store: Store) -> None:
        seal = Sealing(await a_key(store))
        first = await store.secrets.put(TOKEN, seal, by="key:a")
        second = await store.secrets.put(TOKEN, seal, by="key:b")
        assert seal.asked == [(first.id, 1), (first.id, 2)]
        assert (second.version, second.updated_by, second.created_at) == (2, "key:b", first.created_at)
        assert second.updated_at >= first.updated_at
        assert second.ref == TOKEN
        assert await store.secrets.get(TOKEN) == second
        assert [each.value.sealed for each in await store.secrets.sealed(PROJECT, ["TOKEN"])] == [b"value 2"]

    async def test_a_name_is_taken_once_in_each_scope_and_target(self, store: Store) -> None:
        seal = Sealing(await a_key(store))
        refs = [
            SecretRef(PROJECT, "A", SecretScope.IMAGE, "base"),
            SecretRef(PROJECT, "A", SecretScope.IMAGE, "web"),
            SecretRef(PROJECT, "A", SecretScope.JOB, "base"),
            SecretRef(PROJECT, "A"),
            TOKEN,
        ]
        for ref in (*refs, SecretRef("prj_0000000000000001", "A")):
            assert (await store.secrets.put(ref, seal, by="")).version == 1
        assert [secret.ref for secret in await store.secrets.list(PROJECT)] == refs
        assert {each.secret.ref for each in await store.secrets.sealed(PROJECT, ["A", "B"])} == set(refs[:4])

    async def test_a_secret_is_removed(self, store: Store) -> None:
        await store.secrets.put(TOKEN, Sealing(await a_key(store)), by="")
        assert await store.secrets.remove(TOKEN)
        assert not await store.secrets.remove(TOKEN)
        with pytest.raises(NotFound, match="TOKEN"):
            await store.secrets.get(TOKEN)

    async def test_use_is_noted(self, store: Store) -> None:
        secret = await store.secrets.put(TOKEN, Sealing(await a_key(store)), by="")
        assert secret.used_at is None
        await store.secrets.used([secret.id, new_id("sec")])
        found = await store.secrets.get(TOKEN)
        assert found.used_at is not None
        assert found.used_at >= found.updated_at

    async def test_many_values_at_once_all_get_a_version(self, stores: Stores) -> None:
        seal = Sealing(await a_key(stores.store))
        others = [stores.of_another_process() for _ in range(3)]
        made = await asyncio.gather(*(store.secrets.put(TOKEN, seal, by="") for store in others * 4))
        assert sorted(secret.version for secret in made) == list(range(1, 13))

    async def test_of_keys_added_at_once_one_is_the_next(self, stores: Stores) -> None:
        others = [stores.of_another_process() for _ in range(4)]
        first = {key.id for key in await asyncio.gather(*(a_key(store) for store in others))}
        assert len(first) == 1
        second = {key.id for key in await asyncio.gather(*(a_key(store, *first) for store in others))}
        assert len(second) == 1
        assert [key.id for key in await stores.store.secret_keys.list()] == [*second, *first]

    async def test_data_keys_move_to_another_key(self, store: Store) -> None:
        old = await a_key(store)
        kept = await store.secrets.put(TOKEN, Sealing(old), by="")
        changed = await store.secrets.put(SecretRef(PROJECT, "OTHER"), Sealing(old), by="")
        new = await a_key(store, old.id)
        found = await store.secrets.elsewhere(new.id, limit=5)
        assert [(each.secret.id, each.key.id, each.key.wrapped) for each in found] == [
            (kept.id, old.id, b"wrapped"),
            (changed.id, old.id, b"wrapped"),
        ]
        assert len(await store.secrets.elsewhere(new.id, limit=1)) == 1
        await store.secrets.put(changed.ref, Sealing(old), by="")
        moved = [(each, SealedValue(new.id, b"anew", each.value.sealed)) for each in found]
        assert await store.secrets.rewrap(moved) == 1  # the other has a newer value
        (there,) = await store.secrets.sealed(PROJECT, ["TOKEN"])
        assert there.value == SealedValue(new.id, b"anew", b"value 1")
        assert there.secret == kept

    async def test_a_key_in_use_and_the_newest_are_not_retired(self, store: Store) -> None:
        old = await a_key(store)
        await store.secrets.put(TOKEN, Sealing(old), by="")
        new = await a_key(store, old.id)
        assert not await store.secret_keys.retire(old.id)
        assert not await store.secret_keys.retire(new.id)
        await store.secrets.remove(TOKEN)
        assert await store.secret_keys.retire(old.id)
        assert not await store.secret_keys.retire(old.id)
        assert await store.secret_keys.list() == [new]

    async def test_nothing_is_sealed_under_a_retired_key(self, store: Store) -> None:
        old = await a_key(store)
        new = await a_key(store, old.id)
        await store.secrets.put(TOKEN, Sealing(new), by="")
        assert await store.secret_keys.retire(old.id)
        with pytest.raises(Conflict):
            await store.secrets.put(TOKEN, Sealing(old), by="")
        (there,) = await store.secrets.sealed(PROJECT, ["TOKEN"])
        with pytest.raises(Conflict):
            await store.secrets.rewrap([(there, SealedValue(old.id, b"", b""))])
        assert (await store.secrets.get(TOKEN)).version == 1

    async def test_a_key_gets_another_master_key_once(self, store: Store) -> None:
        key = await a_key(store)
        assert await store.secret_keys.remaster(key, "f" * 16, b"anew")
        assert not await store.secret_keys.remaster(key, "e" * 16, b"late")
        (there,) = await store.secret_keys.list()
        assert (there.master, there.wrapped) == ("f" * 16, b"anew")
