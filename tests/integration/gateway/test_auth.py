"""Who calls: over TCP with keys and tokens, over the Unix socket, over WebSockets; how often."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect, unix_connect
from websockets.exceptions import InvalidStatus

from aetherium.client.aio import AsyncClient
from aetherium.client.sync import Client
from aetherium.domain.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    RateLimited,
    Unauthenticated,
)
from aetherium.domain.executions import ExecutionSpec
from aetherium.domain.identity import Role
from aetherium.domain.projects import DEFAULT_PROJECT, Quota
from aetherium.domain.tasks import TaskSpec
from aetherium.domain.vms import VMSpec
from tests.fixtures import oidc
from tests.fixtures.platform import data_dir
from tests.integration.gateway.served import Served, bearer, served

__all__ = ["data_dir"]

VMS = "/v1/vms"
WORKERS = "/v1/workers"


@pytest.fixture
async def here(data_dir: Path) -> AsyncIterator[Served]:
    async with served(data_dir) as gateway:
        yield gateway


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/openapi.json", "/docs"])
async def test_what_is_for_everybody_needs_no_key(here: Served, path: str) -> None:
    assert (await here.http.get(path)).status_code == 200


@pytest.mark.parametrize("path", [VMS, "/v1/whoami", "/v1/doctor", "/v1/nothing", "/", "/docs2", "/healthz/"])
async def test_all_else_needs_one(here: Served, path: str) -> None:
    response = await here.http.get(path)
    assert response.status_code == 401
    assert response.json()["code"] == "unauthenticated"
    assert response.headers["www-authenticate"].startswith("Bearer")


async def test_no_header_makes_a_request_over_tcp_local(here: Served) -> None:
    for headers in (
        {"x-forwarded-for": "127.0.0.1"},
        {"host": "aetherium"},
        {"forwarded": "for=127.0.0.1"},
        {"x-real-ip": "127.0.0.1"},
    ):
        assert (await here.http.get(VMS, headers=headers)).status_code == 401


async def test_a_key_works_by_its_role(here: Served) -> None:
    viewer, operator = await here.key(role=Role.VIEWER), await here.key()
    assert (await here.http.get(VMS, headers=bearer(viewer))).status_code == 200
    refused = await here.http.post(VMS, headers=bearer(viewer), json={"name": "box"})
    assert (refused.status_code, refused.json()["details"]["permission"]) == (403, "vms:write")
    made = await here.http.post(VMS, headers=bearer(operator), json={"name": "box"})
    assert made.status_code == 201
    assert (await here.http.get(WORKERS, headers=bearer(operator))).status_code == 403
    assert (await here.http.get(WORKERS, headers=bearer(await here.key(None)))).status_code == 200


async def test_a_revoked_key_is_refused_at_once(here: Served) -> None:
    async with AsyncClient.unix(here.socket) as local:
        issued = await local.api_keys.create("ci")
        assert (await here.http.get(VMS, headers=bearer(issued.secret))).status_code == 200
        await local.api_keys.revoke("ci")
    assert (await here.http.get(VMS, headers=bearer(issued.secret))).status_code == 401


async def test_the_unix_socket_needs_no_key_and_takes_one(here: Served) -> None:
    assert (await here.local.get(WORKERS)).status_code == 200
    assert (await here.local.get(WORKERS, headers=bearer(await here.key()))).status_code == 403
    assert (await here.local.get(WORKERS, headers=bearer("nonsense"))).status_code == 401
    project = await here.local.get("/v1/whoami", headers={"aetherium-project": "default"})
    assert project.json()["project"] == "default"
    assert (await here.local.get(VMS, headers={"aetherium-project": "no"})).status_code == 404


async def test_a_request_has_an_id_its_clients_if_that_fits(here: Served) -> None:
    own = await here.http.get("/healthz", headers={"x-request-id": "a-1_b.2"})
    assert own.headers["x-request-id"] == "a-1_b.2"
    for wrong in ("a b", "x" * 65, "ä", "<script>"):
        answer = await here.http.get("/healthz", headers={b"x-request-id": wrong.encode()})
        assert answer.headers["x-request-id"] not in ("", wrong)
    assert (await here.http.get(VMS)).headers["x-request-id"]


async def test_the_client_works_over_http(here: Served) -> None:
    key = await here.key()
    async with AsyncClient.http(here.url, api_key=key) as client:
        me = await client.whoami()
        assert (me.role, me.project, me.installation) == (Role.OPERATOR, "default", False)
        assert "vms:write" in me.permissions
        assert "keys:write" not in me.permissions
        vm = await client.vms.create(VMSpec(name="box"))
        assert vm.project_id == DEFAULT_PROJECT
        async with client.executions.interactive("box", ExecutionSpec(("cat",), stdin=True)) as session:
            await session.write(b"hello")
            await session.close_stdin()
            assert b"".join([chunk.data async for chunk in session]) == b"hello"
        await client.files.write("box", "/tmp/data", b"x" * (9 << 20))
        assert (await client.files.stat("box", "/tmp/data")).size == 9 << 20


async def test_the_client_says_why_it_was_refused(here: Served) -> None:
    async with AsyncClient.http(here.url, api_key="nonsense", retry=None) as client:
        with pytest.raises(Unauthenticated):
            await client.vms.list()
        with pytest.raises(Unauthenticated):
            async with client.executions.interactive("box", ExecutionSpec(("cat",), stdin=True)):
                pass
    async with AsyncClient.http(here.url, api_key=await here.key(role=Role.VIEWER)) as client:
        with pytest.raises(Forbidden):
            await client.vms.create(VMSpec())


def _whoami(url: str, key: str) -> tuple[str, list[str]]:
    with Client.http(url, api_key=key, project="default") as client:
        made = client.api_keys.create("made", scopes=["vms:read"])
        assert client.api_keys.get(made.key.prefix) == made.key
        changed = client.api_keys.rotate("made", grace_s=0.0)
        client.api_keys.revoke(changed.key.id)
        client.members.add("oidc:https://id.example#ada", Role.ADMIN)
        client.members.set_role("oidc:https://id.example#ada", Role.VIEWER)
        names = [member.subject for member in client.members.list()]
        client.members.remove("oidc:https://id.example#ada")
        assert client.members.list() == []
        return str(client.whoami().project), names


async def test_the_synchronous_client_works_over_http(here: Served) -> None:
    key = await here.key(None)
    found = await asyncio.to_thread(_whoami, here.url, key)
    assert found == ("default", ["oidc:https://id.example#ada"])


async def test_nobody_gives_away_more_than_they_have(here: Served) -> None:
    admin = await here.key(role=Role.ADMIN)
    async with AsyncClient.http(here.url, api_key=admin) as client:
        with pytest.raises(Forbidden):
            await client.api_keys.create("all", installation=True)
        narrow = await client.api_keys.create("narrow", role=Role.ADMIN, scopes=["keys:*", "members:*"])
        wide = await client.api_keys.create("wide", role=Role.ADMIN)
        with pytest.raises(NotFound):
            await client.api_keys.create("there", project="elsewhere")
    async with AsyncClient.http(here.url, api_key=narrow.secret) as client:
        for call in (
            client.api_keys.create("more", role=Role.ADMIN),
            client.api_keys.create("more", scopes=["vms:read"]),
            client.api_keys.rotate(wide.key.id),
            client.members.add("oidc:https://id.example#ada", Role.VIEWER),
        ):
            with pytest.raises(Forbidden):
                await call
        again = await client.api_keys.rotate("narrow")
        assert again.key.scopes == frozenset({"keys:*", "members:*"})


async def test_keys_and_members_of_other_projects_are_not_there(here: Served) -> None:
    other = await here.platform.projects.create("web")
    theirs = await here.platform.keys.create("theirs", project_id=other.id, role=Role.ADMIN, by="local")
    async with AsyncClient.http(here.url, api_key=await here.key(role=Role.ADMIN)) as client:
        for call in (
            client.api_keys.get(theirs.key.id),
            client.api_keys.get("theirs"),
            client.api_keys.revoke(theirs.key.prefix),
            client.api_keys.rotate(theirs.key.id),
            client.members.list(project="web"),
            client.members.add("oidc:https://id.example#ada", Role.VIEWER, project=other.id),
        ):
            with pytest.raises(NotFound):
                await call
        assert [key.name for key in await client.api_keys.list()] == ["test"]


async def test_people_come_with_tokens_of_the_provider(data_dir: Path) -> None:
    async with (
        oidc.provider() as provider,
        served(
            data_dir,
            oidc_issuer=provider.issuer,
            oidc_audience=oidc.AUDIENCE,
            oidc_admins=("groups=ops",),
        ) as here,
        AsyncClient.unix(here.socket) as local,
    ):
        token = provider.token()
        assert (await here.http.get(VMS, headers=bearer(token))).status_code == 403
        await local.members.add("ada", Role.ADMIN)
        async with AsyncClient.http(here.url, api_key=token) as ada:
            assert (await ada.whoami()).subject == f"oidc:{provider.issuer}#ada"
            with pytest.raises(Conflict, match="last"):
                await ada.members.remove("ada")
            await local.projects.create("web")
            await local.members.add("ada", Role.VIEWER, project="web")
            with pytest.raises(InvalidInput, match="default, web"):
                await ada.whoami()
        async with AsyncClient.http(here.url, api_key=token, project="web") as ada:
            assert (await ada.whoami()).role is Role.VIEWER
        async with AsyncClient.http(here.url, api_key=provider.token(groups=["ops"])) as operator:
            assert (await operator.whoami()).installation
        stale = await here.http.get(VMS, headers=bearer(provider.token(exp=1)))
        assert stale.status_code == 401


async def test_a_browsers_websocket_gives_its_key_as_a_subprotocol(here: Served) -> None:
    key = await here.key()
    url = f"ws{here.url.removeprefix('http')}/v1/vms/none/terminal"
    offered: list[Any] = ["aetherium", f"aetherium.bearer.{key}", "aetherium.project.default"]
    async with connect(url, subprotocols=offered, origin=None) as socket:
        assert socket.subprotocol == "aetherium"
        await socket.send('{"argv": ["true"]}')
        assert json.loads(await socket.recv())["error"]["code"] == "not_found"
    for subprotocols in ([], ["aetherium"], ["aetherium", "aetherium.bearer.nonsense"]):
        given: list[Any] = subprotocols
        with pytest.raises(InvalidStatus) as caught:
            await connect(url, subprotocols=given or None).__aenter__()
        assert caught.value.response.status_code == 401
    with pytest.raises(InvalidStatus):
        await connect(f"{url}?api_key={key}&access_token={key}").__aenter__()
    async with unix_connect(str(here.socket), "ws://aetherium/v1/vms/none/terminal") as socket:
        assert socket.subprotocol is None


async def test_a_caller_has_a_rate(data_dir: Path) -> None:
    async with served(data_dir, rate_limit_key="3/minute") as here:
        headers = bearer(await here.key())
        answers = [await here.http.get(VMS, headers=headers) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert answers[0].headers["ratelimit-policy"] == '"caller";q=3;w=60'
        assert answers[0].headers["ratelimit"].startswith('"caller";r=2;t=')
        assert answers[3].headers["ratelimit"].startswith('"caller";r=0;t=')
        assert 1 <= int(answers[3].headers["retry-after"]) <= 60
        assert answers[3].json()["code"] == "rate_limited"
        assert (await here.http.get(VMS, headers=bearer(await here.key()))).status_code == 200
        assert [(await here.local.get(VMS)).status_code for _ in range(5)] == [200] * 5


async def test_a_project_has_a_quota_of_requests(here: Served) -> None:
    async with AsyncClient.unix(here.socket) as local:
        await local.projects.set_quota("default", Quota(requests_per_minute=2))
    keys = [await here.key(), await here.key()]
    answers = [await here.http.get(VMS, headers=bearer(keys[number % 2])) for number in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].headers["ratelimit-policy"] == '"caller";q=6000;w=60, "project";q=2;w=60'
    assert answers[2].json()["details"]["limit"] == "project"


async def test_an_address_at_which_nobody_is_known_has_a_smaller_rate(data_dir: Path) -> None:
    async with served(data_dir, rate_limit_address="3/minute") as here:
        answers = [await here.http.get(path) for path in ("/healthz", VMS, "/healthz", "/healthz", VMS)]
        assert [answer.status_code for answer in answers] == [200, 401, 200, 429, 429]
        assert (await here.http.get(VMS, headers=bearer(await here.key()))).status_code == 200


async def test_who_guesses_is_held_up(here: Served) -> None:
    good = bearer(await here.key())
    assert (await here.http.get(VMS, headers=good)).status_code == 200
    found = [(await here.http.get(VMS, headers=bearer("nonsense"))).status_code for _ in range(22)]
    assert found == [401] * 20 + [429] * 2
    assert (await here.http.get(VMS, headers=good)).status_code == 200


async def test_addresses_of_trusted_proxies_count_as_their_clients(data_dir: Path) -> None:
    async with served(data_dir, trusted_proxies=("127.0.0.0/8",), rate_limit_address="1/minute") as here:
        for address, status in (("192.0.2.1", 200), ("192.0.2.2", 200), ("192.0.2.1", 429)):
            answer = await here.http.get("/healthz", headers={"x-forwarded-for": address})
            assert answer.status_code == status
        secure = await here.http.get(
            "/healthz", headers={"x-forwarded-for": "192.0.2.3", "x-forwarded-proto": "https"}
        )
        assert "strict-transport-security" in secure.headers


async def test_tasks_beyond_the_quota_come_with_a_time(here: Served) -> None:
    async with AsyncClient.unix(here.socket, retry=None) as local:
        await local.projects.set_quota("default", Quota(tasks_per_minute=0))
        with pytest.raises(RateLimited) as caught:
            await local.tasks.submit(TaskSpec("system.noop"))
        assert caught.value.retry_after_s == 60
