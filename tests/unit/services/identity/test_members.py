"""Members of projects."""

from __future__ import annotations

import pytest

from aetherium.domain.errors import Conflict, InvalidInput, NotFound
from aetherium.domain.identity import Role
from aetherium.domain.projects import DEFAULT_PROJECT
from aetherium.services.identity.members import MemberService
from tests.contract.store.databases import Stores

ISSUER = "https://id.example"


async def test_people_are_meant_as_their_issuer_calls_them(stores: Stores) -> None:
    members = MemberService(stores.store, ISSUER)
    added = await members.add(DEFAULT_PROJECT, "ada", Role.ADMIN, by="local")
    assert added.subject == f"oidc:{ISSUER}#ada"
    for name in ("ada", added.subject):
        assert await members.get(DEFAULT_PROJECT, name) == added
    await members.add(DEFAULT_PROJECT, "oidc:https://other.example#ada", Role.VIEWER, by="local")
    assert len(await members.list(DEFAULT_PROJECT)) == 2


@pytest.mark.parametrize("subject", ["", "a\nb", "x" * 250, "oidc:#ada", f"oidc:{ISSUER}#", "oidc:ada"])
async def test_what_is_nobody_is_refused(stores: Stores, subject: str) -> None:
    with pytest.raises(InvalidInput):
        await MemberService(stores.store, ISSUER).add(DEFAULT_PROJECT, subject, Role.VIEWER, by="local")


async def test_without_an_issuer_the_subject_names_it(stores: Stores) -> None:
    with pytest.raises(InvalidInput, match="ada"):
        await MemberService(stores.store).add(DEFAULT_PROJECT, "ada", Role.VIEWER, by="local")


async def test_the_last_administrator_stays_unless_it_is_meant(stores: Stores) -> None:
    members = MemberService(stores.store, ISSUER)
    await members.add(DEFAULT_PROJECT, "ada", Role.ADMIN, by="local")
    with pytest.raises(Conflict):
        await members.remove(DEFAULT_PROJECT, "ada")
    with pytest.raises(Conflict):
        await members.set_role(DEFAULT_PROJECT, "ada", Role.VIEWER)
    await members.remove(DEFAULT_PROJECT, "ada", keep_admin=False)
    with pytest.raises(NotFound):
        await members.remove(DEFAULT_PROJECT, "ada", keep_admin=False)
