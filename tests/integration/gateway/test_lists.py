"""Lists of real things: filters, both orders, pages that are linked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from aetherium.domain.jobs import JobSpec, JobStep
from aetherium.domain.tasks import TaskSpec
from aetherium.domain.vms import VMSpec
from tests.integration.gateway.conftest import Gateway
from tests.integration.gateway.raw import http


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[httpx2.AsyncClient]:
    async with http(gateway.socket) as client:
        yield client
        for vm in await gateway.platform.vms.list():
            await gateway.platform.vms.delete(vm.id)


async def _names(client: httpx2.AsyncClient, path: str) -> list[Any]:
    """All items' ids, page by page along the links."""
    found: list[Any] = []
    while path:
        page = await client.get(path)
        assert page.status_code == 200, page.text
        found += [item.get("id") or item["worker"]["info"]["id"] for item in page.json()["items"]]
        link = page.headers.get("link", "")
        assert bool(link) == (page.json()["next_cursor"] is not None)
        path = link.partition(">")[0].removeprefix("<")
    return found


async def test_vms(gateway: Gateway, client: httpx2.AsyncClient) -> None:
    made = [
        (await gateway.platform.vms.create(VMSpec(name=name, labels={"team": team}))).id
        for name, team in (("web-2", "a"), ("web-1", "b"), ("db", "a"))
    ]
    assert await _names(client, "/v1/vms?limit=2") == made[::-1]
    assert await _names(client, "/v1/vms?limit=1&sort=created_at") == made
    assert await _names(client, "/v1/vms?limit=1&sort=name") == [made[2], made[1], made[0]]
    assert await _names(client, "/v1/vms?name=web&sort=name") == [made[1], made[0]]
    assert await _names(client, "/v1/vms?label=team%3Da&state=running") == [made[2], made[0]]
    assert await _names(client, "/v1/vms?state=paused") == []


async def test_jobs_and_tasks(gateway: Gateway, client: httpx2.AsyncClient) -> None:
    tasks = await gateway.platform.tasks.submit_many(
        [TaskSpec("system.noop", labels={"n": str(n)}) for n in range(5)]
    )
    ids = sorted(task.id for task in tasks)
    path = "/v1/tasks?type=system.noop"
    assert await _names(client, f"{path}&limit=2") == ids[::-1]
    assert await _names(client, f"{path}&limit=2&sort=created_at") == ids
    assert await _names(client, f"{path}&label=n%3D3") == [tasks[3].id]
    soon = quote((datetime.now(UTC) + timedelta(minutes=1)).isoformat())
    assert await _names(client, f"{path}&created_after={soon}") == []
    assert await _names(client, f"{path}&created_before={soon}&limit=4") == ids[::-1]
    assert await _names(client, f"/v1/dead-letters?created_before={soon}") == []
    job = await gateway.platform.jobs.submit(
        JobSpec((JobStep("a", run="true"),), name="check", labels={"x": "1"}, patch=False)
    )
    assert await _names(client, "/v1/jobs?name=che&label=x%3D1&sort=created_at") == [job.id]
    assert await _names(client, "/v1/jobs?name=other") == []
    await gateway.platform.jobs.wait(job.id)


async def test_what_has_names_is_listed_by_name(client: httpx2.AsyncClient) -> None:
    task = {"type": "system.noop"}
    made = {}
    for name in ("b", "a", "c"):
        await client.post("/v1/projects", json={"name": f"web-{name}"})
        body = {"name": name, "spec": {"every_s": 60, "task": task}}
        made[name] = (await client.post("/v1/schedules", json=body)).json()["id"]
    assert await _names(client, "/v1/schedules?limit=2") == [made["a"], made["b"], made["c"]]
    assert await _names(client, "/v1/schedules?limit=2&sort=-created_at") == [made["c"], made["a"], made["b"]]
    assert await _names(client, "/v1/schedules?paused=true") == []
    assert len(await _names(client, "/v1/projects?name=web-&limit=1")) == 3
    assert len(await _names(client, "/v1/workers?state=active")) == len(await _names(client, "/v1/workers"))


async def test_keys_members_and_secrets(gateway: Gateway, client: httpx2.AsyncClient) -> None:
    keys = {}
    for name in ("b", "a"):
        answer = await client.post("/v1/api-keys", json={"name": name, "project": "default"})
        keys[name] = answer.json()["key"]["id"]
        await client.post("/v1/members", json={"subject": f"oidc:https://id.example#{name}", "role": "admin"})
    assert await _names(client, "/v1/api-keys?limit=1") == [keys["a"], keys["b"]]
    assert await _names(client, "/v1/api-keys?limit=1&sort=-name") == [keys["b"], keys["a"]]
    await client.delete(f"/v1/api-keys/{keys['b']}")
    assert await _names(client, "/v1/api-keys?revoked=false") == [keys["a"]]
    assert await _names(client, "/v1/api-keys?revoked=true&name=b") == [keys["b"]]
    assert await _subjects(client, "") == ["a", "b"]
    assert await _subjects(client, "sort=-name") == ["b", "a"]
    assert await _subjects(client, "sort=created_at") == ["b", "a"]
    assert await _subjects(client, f"name={quote('oidc:https://id.example#b')}") == ["b"]
    assert await _subjects(client, "role=viewer") == []
    places = ("", "?scope=image&target=base", "?scope=job&target=check")
    secrets = [
        (await client.put(f"/v1/secrets/S{place}", json={"value": "x"})).json()["id"] for place in places
    ]
    first = (await client.put("/v1/secrets/A", json={"value": "x"})).json()["id"]
    # Those of one name: of images, of jobs, of the project.
    assert await _names(client, "/v1/secrets?limit=1") == [first, secrets[1], secrets[2], secrets[0]]
    assert await _names(client, "/v1/secrets?limit=2&name=S&sort=-name") == [
        secrets[0],
        secrets[2],
        secrets[1],
    ]
    assert await _names(client, "/v1/secrets?limit=3&sort=created_at") == [*secrets, first]
    assert await _names(client, "/v1/secrets?scope=job") == [secrets[2]]


async def _subjects(client: httpx2.AsyncClient, query: str) -> list[str]:
    """Of all members, one a page."""
    found, cursor = [], ""
    while True:
        page = (await client.get(f"/v1/members?limit=1&{query}&cursor={cursor}")).json()
        found += [item["subject"].rpartition("#")[2] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            return found


@pytest.mark.parametrize(
    "query",
    [
        "cursor=nothing",
        "sort=size",
        "created_after=yesterday",
        "created_after=2026-01-01T00:00:00",
        "label=x",
    ],
)
async def test_what_cannot_be_meant(client: httpx2.AsyncClient, query: str) -> None:
    found = await client.get(f"/v1/vms?{query}")
    assert (found.status_code, found.json()["code"]) == (422, "invalid_input")
