"""What a store has to do for API keys and members of projects."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from aetherium.domain.errors import AlreadyExists, Conflict, NotFound
from aetherium.domain.identity import APIKey, Member, Role
from aetherium.domain.ids import KEY, new_id
from aetherium.domain.projects import DEFAULT_PROJECT, Project
from aetherium.interfaces.store import Store
from tests.contract.store.databases import Stores
from tests.contract.store.values import BEGIN

HASH = "0" * 64
ADA, BOB = "oidc:https://id.example#ada", "oidc:https://id.example#bob"


def a_key(prefix: str, *, name: str = "ci", project_id: str | None = DEFAULT_PROJECT) -> APIKey:
    """One that does not expire."""
    return APIKey(new_id(KEY), name, prefix, project_id, Role.OPERATOR, BEGIN, "local")


def a_member(subject: str, role: Role = Role.VIEWER, project_id: str = DEFAULT_PROJECT) -> Member:
    """Somebody."""
    return Member(project_id, subject, role, BEGIN, "local")


class APIKeysContract:
    """API keys."""

    async def test_a_key_comes_back_as_it_was(self, store: Store) -> None:
        key = replace(
            a_key("aek_00000001"),
            scopes=frozenset({"vms:read", "tasks:*"}),
            expires_at=BEGIN + timedelta(days=100_000),
        )
        await store.api_keys.add(key, HASH)
        for ref in (key.id, "ci", "aek_00000001", key.id[:19]):
            assert await store.api_keys.find(ref) == key
        assert await store.api_keys.list() == [key]
        assert await store.api_keys.valid("aek_00000001") == (key, HASH)
        assert await store.api_keys.valid("aek_00000002") is None
        with pytest.raises(AlreadyExists):
            await store.api_keys.add(a_key("aek_00000001"), HASH)

    async def test_of_keys_with_a_name_the_newest_that_is_not_revoked_is_found(self, store: Store) -> None:
        keys = [
            replace(a_key(f"aek_0000000{number}"), created_at=BEGIN + timedelta(seconds=number))
            for number in range(3)
        ]
        for key in keys:
            await store.api_keys.add(key, HASH)
        assert (await store.api_keys.find("ci")).id == keys[2].id
        await store.api_keys.revoke(keys[2].id)
        assert (await store.api_keys.find("ci")).id == keys[1].id

    async def test_a_revoked_key_is_not_valid_and_stays_revoked(self, stores: Stores, store: Store) -> None:
        key = a_key("aek_00000001")
        await store.api_keys.add(key, HASH)
        revoked = await store.api_keys.revoke(key.id)
        assert revoked.revoked_at is not None
        assert await store.api_keys.valid(key.prefix) is None
        stores.let_pass(5.0)
        assert await store.api_keys.revoke(key.id) == revoked
        with pytest.raises(NotFound):
            await store.api_keys.revoke(new_id(KEY))

    async def test_a_key_expires_by_the_time_of_the_store(self, stores: Stores, store: Store) -> None:
        key = replace(a_key("aek_00000001"), expires_at=await store.now() + timedelta(seconds=60))
        await store.api_keys.add(key, HASH)
        assert await store.api_keys.valid(key.prefix) is not None
        stores.let_pass(61.0)
        assert await store.api_keys.valid(key.prefix) is None

    async def test_a_replaced_key_is_valid_for_a_while(self, stores: Stores, store: Store) -> None:
        old, new = a_key("aek_00000001"), a_key("aek_00000002")
        await store.api_keys.add(old, HASH)
        assert await store.api_keys.replace(old.id, new, HASH, grace_s=60.0) == new
        for prefix in (old.prefix, new.prefix):
            assert await store.api_keys.valid(prefix) is not None
        stores.let_pass(61.0)
        assert await store.api_keys.valid(old.prefix) is None
        assert await store.api_keys.valid(new.prefix) is not None
        with pytest.raises(Conflict):
            await store.api_keys.replace(old.id, a_key("aek_00000003"), HASH, grace_s=60.0)
        assert len(await store.api_keys.list()) == 2

    async def test_a_grace_makes_no_key_live_longer(self, stores: Stores, store: Store) -> None:
        soon = await store.now() + timedelta(seconds=10)
        old = replace(a_key("aek_00000001"), expires_at=soon)
        await store.api_keys.add(old, HASH)
        await store.api_keys.replace(old.id, a_key("aek_00000002"), HASH, grace_s=60.0)
        assert (await store.api_keys.find(old.id)).expires_at == soon

    async def test_uses_are_noted(self, store: Store) -> None:
        key = a_key("aek_00000001")
        await store.api_keys.add(key, HASH)
        await store.api_keys.used([key.id, new_id(KEY)])
        assert (await store.api_keys.find(key.id)).used_at is not None

    async def test_it_is_known_whether_the_installation_ever_had_a_key(self, store: Store) -> None:
        await store.api_keys.add(a_key("aek_00000001"), HASH)
        assert not await store.api_keys.installation_has_one()
        key = a_key("aek_00000002", project_id=None)
        await store.api_keys.add(key, HASH)
        await store.api_keys.revoke(key.id)
        assert await store.api_keys.installation_has_one()

    async def test_a_project_sees_its_own_keys_only(self, store: Store) -> None:
        other = Project(new_id("prj"), "web", BEGIN)
        await store.projects.add(other)
        own = a_key("aek_00000001", project_id=other.id)
        for key in (own, a_key("aek_00000002"), a_key("aek_00000003", project_id=None)):
            await store.api_keys.add(key, HASH)
        view = store.of_project(other.id)
        assert await view.api_keys.list() == [own]
        for prefix in ("aek_00000002", "aek_00000003"):
            with pytest.raises(NotFound):
                await view.api_keys.find(prefix)


class MembersContract:
    """Members."""

    async def test_members_are_added_listed_changed_and_removed(self, store: Store) -> None:
        ada, bob = a_member(ADA, Role.ADMIN), a_member(BOB)
        await store.members.add(bob)
        await store.members.add(ada)
        assert await store.members.list(DEFAULT_PROJECT) == [ada, bob]
        assert await store.members.get(DEFAULT_PROJECT, ADA) == ada
        changed = await store.members.set_role(DEFAULT_PROJECT, BOB, Role.OPERATOR, keep_admin=True)
        assert changed.role is Role.OPERATOR
        assert await store.members.remove(DEFAULT_PROJECT, BOB, keep_admin=True)
        assert not await store.members.remove(DEFAULT_PROJECT, BOB, keep_admin=True)
        assert await store.members.list(DEFAULT_PROJECT) == [ada]

    async def test_what_cannot_be_is_refused(self, store: Store) -> None:
        await store.members.add(a_member(ADA))
        with pytest.raises(AlreadyExists):
            await store.members.add(a_member(ADA, Role.ADMIN))
        with pytest.raises(NotFound, match="project"):
            await store.members.add(a_member(ADA, project_id=new_id("prj")))
        for call in (
            store.members.get(DEFAULT_PROJECT, BOB),
            store.members.set_role(DEFAULT_PROJECT, BOB, Role.ADMIN, keep_admin=True),
        ):
            with pytest.raises(NotFound, match="member"):
                await call

    async def test_the_last_administrator_stays_unless_it_is_meant(self, store: Store) -> None:
        await store.members.add(a_member(ADA, Role.ADMIN))
        await store.members.add(a_member(BOB))
        with pytest.raises(Conflict, match="last"):
            await store.members.remove(DEFAULT_PROJECT, ADA, keep_admin=True)
        with pytest.raises(Conflict, match="last"):
            await store.members.set_role(DEFAULT_PROJECT, ADA, Role.VIEWER, keep_admin=True)
        await store.members.set_role(DEFAULT_PROJECT, ADA, Role.ADMIN, keep_admin=True)
        assert await store.members.remove(DEFAULT_PROJECT, ADA, keep_admin=False)

    async def test_of_administrators_that_remove_one_another_one_stays(self, store: Store) -> None:
        for subject in (ADA, BOB):
            await store.members.add(a_member(subject, Role.ADMIN))
        calls = [store.members.remove(DEFAULT_PROJECT, each, keep_admin=True) for each in (ADA, BOB)]
        done = await asyncio.gather(*calls, return_exceptions=True)
        assert sorted(isinstance(each, Conflict) for each in done) == [False, True]
        assert len(await store.members.list(DEFAULT_PROJECT)) == 1

    async def test_what_somebody_is_comes_with_the_names_of_the_projects(self, store: Store) -> None:
        web = Project(new_id("prj"), "web", BEGIN)
        await store.projects.add(web)
        member, other = a_member(ADA, Role.ADMIN, web.id), a_member(ADA)
        await store.members.add(member)
        await store.members.add(other)
        await store.members.add(a_member(BOB, project_id=web.id))
        found = await store.members.of(ADA)
        assert [(each.project, each.member) for each in found] == [("default", other), ("web", member)]
        assert await store.members.of("oidc:https://other.example#ada") == []
        assert [each.project for each in await store.of_project(web.id).members.of(ADA)] == ["web"]
