"""Who calls, in which project; and those who only try."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from aetherium.domain.errors import Forbidden, InvalidInput, NotFound, RateLimited, Unauthenticated
from aetherium.domain.identity import LOCAL, Caller, Role
from aetherium.domain.ids import new_id
from aetherium.domain.projects import DEFAULT_PROJECT, Project
from aetherium.interfaces.clock import SystemClock
from aetherium.rates.limiter import open_memory_limiter
from aetherium.services.identity.authentication import FAILURES, Authenticator, network
from aetherium.services.identity.jwks import KeySet
from aetherium.services.identity.keys import KeyService
from aetherium.services.identity.members import MemberService
from aetherium.services.identity.tokens import TokenVerifier
from tests.contract.store.databases import Stores
from tests.contract.store.values import BEGIN
from tests.fixtures.oidc import AUDIENCE, Provider
from tests.unit.services.identity.conftest import Auditor, Seconds

HERE = "192.0.2.1"
WEB = "prj_0000000000000001"


@dataclass(frozen=True, slots=True)
class World:
    """An installation with two projects, a provider, and somebody who asks."""

    authenticator: Authenticator
    keys: KeyService
    members: MemberService
    provider: Provider
    auditor: Auditor
    seconds: Seconds

    async def key(self, project_id: str | None = DEFAULT_PROJECT, *scopes: str) -> str:
        chosen = frozenset(scopes) if scopes else None
        role = Role.ADMIN if project_id is None else Role.OPERATOR
        made = await self.keys.create("ci", project_id=project_id, role=role, scopes=chosen, by="local")
        return made.secret

    async def asks(self, credential: str, project: str = "", address: str = HERE) -> Caller:
        return await self.authenticator.caller(f"Bearer {credential}", project, address, "request-1")


@pytest.fixture
async def world(stores: Stores, seconds: Seconds) -> AsyncIterator[World]:
    provider, auditor = Provider(), Auditor()
    store = stores.store
    await store.projects.add(Project(WEB, "web", BEGIN))
    keys = KeyService(store, SystemClock(), seconds)
    tokens = TokenVerifier(
        provider.issuer, AUDIENCE, KeySet(provider.issuer, provider.fetch), admins=("groups=ops",)
    )
    async with open_memory_limiter() as rates:
        authenticator = Authenticator(store, keys, tokens, auditor, rates, seconds)
        members = MemberService(store, provider.issuer)
        yield World(authenticator, keys, members, provider, auditor, seconds)


async def test_a_key_is_in_its_project_and_nowhere_else(world: World) -> None:
    secret = await world.key(WEB, "vms:read")
    key = await world.keys.get("ci")
    for project in ("", WEB, "web"):
        assert await world.asks(secret, project) == Caller(
            f"key:{key.id}",
            Role.OPERATOR,
            project_id=WEB,
            scopes=frozenset({"vms:read"}),
            address=HERE,
            request_id="request-1",
        )
    for project in (DEFAULT_PROJECT, "nowhere", new_id("prj")):
        with pytest.raises(NotFound) as caught:
            await world.asks(secret, project)
        assert caught.value.message == f"There is no project {project!r}."


async def test_a_key_of_the_installation_is_in_all_projects_or_in_one(world: World) -> None:
    secret = await world.key(None)
    caller = await world.asks(secret)
    assert (caller.installation, caller.project_id) == (True, None)
    for project in (WEB, "web"):
        assert (await world.asks(secret, project)).project_id == WEB
    with pytest.raises(NotFound):
        await world.asks(secret, "nowhere")


async def test_scopes_narrow_what_an_installations_key_may(world: World) -> None:
    caller = await world.asks(await world.key(None, "*:read"))
    assert caller.may("workers:read")
    assert not caller.may("workers:write")


async def test_a_person_is_in_the_only_project_or_says_which(world: World) -> None:
    token = world.provider.token()
    with pytest.raises(Forbidden):
        await world.asks(token)
    with pytest.raises(NotFound):
        await world.asks(token, "web")
    await world.members.add(WEB, "ada", Role.VIEWER, by="local")
    for project in ("", "web", WEB):
        caller = await world.asks(token, project)
        assert (caller.subject, caller.project_id) == (f"oidc:{world.provider.issuer}#ada", WEB)
        assert (caller.role, caller.installation) == (Role.VIEWER, False)
    await world.members.add(DEFAULT_PROJECT, "ada", Role.ADMIN, by="local")
    with pytest.raises(InvalidInput, match="default, web"):
        await world.asks(token)
    assert (await world.asks(token, "default")).role is Role.ADMIN
    for project in ("nowhere", new_id("prj")):
        with pytest.raises(NotFound):
            await world.asks(token, project)


async def test_a_person_may_administer_the_installation(world: World) -> None:
    token = world.provider.token(groups=["ops"])
    assert (await world.asks(token)).project_id is None
    caller = await world.asks(token, "web")
    assert (caller.installation, caller.project_id) == (True, WEB)


async def test_whoever_opens_the_unix_socket_is_local(world: World) -> None:
    caller = await world.authenticator.local("", "request-1")
    assert (caller.subject, caller.project_id) == (LOCAL.subject, None)
    assert (await world.authenticator.local("web", "request-1")).project_id == WEB
    with pytest.raises(NotFound):
        await world.authenticator.local("nowhere", "request-1")


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", "Basic YTpi", "Bearer x", "Bearer a.b.c", "Bearer aek_00000000_" + "A" * 43],
)
async def test_what_is_not_valid_is_refused_and_recorded(world: World, authorization: str) -> None:
    with pytest.raises(Unauthenticated):
        await world.authenticator.caller(authorization, "", HERE, "request-1")
    (event,) = world.auditor.events
    assert (event.actor, event.action, event.outcome) == ("", "auth.failure", "unauthenticated")
    assert (event.address, event.request_id) == (HERE, "request-1")
    assert "A" * 43 not in repr(event)


async def test_failures_fill_no_disk(world: World) -> None:
    for _ in range(5):
        with pytest.raises(Unauthenticated):
            await world.asks("x")
    assert len(world.auditor.events) == 1
    world.seconds.at += 11.0
    with pytest.raises(Unauthenticated):
        await world.asks("x")
    assert len(world.auditor.events) == 2
    for number in range(600):
        with pytest.raises(Unauthenticated):
            await world.asks("x", address=f"198.51.{number // 250}.{number % 250}")
    assert len(world.auditor.events) == 501


async def test_who_guesses_is_refused_unseen_and_others_go_on(world: World) -> None:
    good, other = await world.key(), await world.key()
    await world.asks(good)
    for _ in range(FAILURES.amount):
        with pytest.raises(Unauthenticated):
            await world.asks("x")
    for credential in ("x", other):
        with pytest.raises(RateLimited) as caught:
            await world.asks(credential)
        assert 0 < caught.value.retry_after_s <= 60
    await world.asks(good)
    await world.asks(other, address="192.0.2.2")
    await world.keys.revoke((await world.asks(good)).subject.removeprefix("key:"))
    with pytest.raises(Unauthenticated):
        await world.asks(good)


async def test_guesses_over_the_unix_socket_are_not_counted(world: World) -> None:
    for _ in range(FAILURES.amount + 1):
        with pytest.raises(Unauthenticated):
            await world.asks("x", address="")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"),
        ("", ""),
    ],
)
def test_a_network_is_one_source(address: str, expected: str) -> None:
    assert network(address) == expected
