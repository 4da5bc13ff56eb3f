"""Every operation of the API, tried by everybody: without a key, as each role, as another tenant.

The operations come from the API's own description, so that a new one cannot be forgotten.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from aetherium.bootstrap import Platform
from aetherium.domain.executions import ExecutionSpec
from aetherium.domain.identity import ALL, Role
from aetherium.domain.identity import PERMISSIONS as ROLES
from aetherium.domain.jobs import JobSpec, JobStep
from aetherium.domain.schedules import ScheduleSpec
from aetherium.domain.tasks import Retry, TaskSpec
from aetherium.domain.vms import Resources, VMSpec
from aetherium.gateway import tcp
from aetherium.gateway.server import serve_platform
from aetherium.settings import Settings
from tests.fixtures.platform import data_dir, fake_platform
from tests.integration.gateway.permissions import KNOWN, PERMISSIONS

__all__ = ["data_dir"]

_SMALL = Resources(1, 128, 16)
_NOWHERE = {
    "ref": "vm_0000000000000000",
    "execution_id": "ex_0000000000000000",
    "name": "NOTHING",
    "subject": "oidc:https://nobody.example#x",
    "priority": "low",
    "task_type": "system.noop",
}
# Of each kind of path, what its `ref` means.
_KINDS = (
    ("/v1/vms/", "vm"),
    ("/v1/executions/", "execution"),
    ("/v1/snapshots/", "snapshot"),
    ("/v1/jobs/", "job"),
    ("/v1/tasks/", "task"),
    ("/v1/dead-letters/", "dead"),
    ("/v1/schedules/", "schedule"),
    ("/v1/projects/", "project"),
    ("/v1/api-keys/", "key"),
    ("/v1/uploads/", "upload"),
)
_DENIED = {401, 403, 404}
_LONG_S = 20.0
_STREAM = re.compile("event-stream|ndjson")


@dataclass(frozen=True, slots=True)
class Operation:
    """One of the API's."""

    id: str
    method: str
    path: str
    described: Mapping[str, Any] = field(repr=False)

    def url(self, values: Mapping[str, str]) -> str:
        """With its parameters, and what its query cannot do without."""
        filled = re.sub(r"\{(\w+)\}", lambda found: values[found[1]], self.path)
        query = {
            each["name"]: each.get("example", each["schema"].get("example", "/tmp"))
            for each in self.described.get("parameters", ())
            if each["in"] == "query" and each.get("required")
        }
        return (
            str(httpx2.URL(f"http://gateway{filled}", params=query)) if query else f"http://gateway{filled}"
        )

    def body(self) -> dict[str, Any]:
        """What its description gives as an example."""
        content = self.described.get("requestBody", {}).get("content", {})
        if "application/json" not in content:
            return {"content": b"", "headers": {"content-type": next(iter(content))}} if content else {}
        media = content["application/json"]
        example = media.get("example") or next(iter(media["examples"].values()))["value"]
        return {"json": example}


@dataclass(frozen=True, slots=True)
class World:
    """Two tenants on one gateway.

    Attributes:
        ours: ids of the first tenant's things, by kind.
        keys: by name.
    """

    platform: Platform
    http: httpx2.AsyncClient
    operations: tuple[Operation, ...]
    ours: Mapping[str, str]
    keys: Mapping[str, str] = field(repr=False)

    async def call(self, operation: Operation, key: str, values: Mapping[str, str]) -> tuple[int, str]:
        """The status, and what of the body comes at once."""
        request = operation.body()
        headers = {**request.pop("headers", {})}
        if key:
            headers["authorization"] = f"Bearer {self.keys[key]}"
        url = operation.url(values)
        async with (
            asyncio.timeout(_LONG_S),
            self.http.stream(operation.method, url, headers=headers, **request) as answer,
        ):
            # A stream that is allowed may not end.
            if answer.status_code < 400 and _STREAM.search(answer.headers.get("content-type", "")):
                return answer.status_code, ""
            body = (await answer.aread()).decode("utf-8", "replace")
            return answer.status_code, body


@pytest.fixture(scope="module")
def module_dir() -> Iterator[Path]:
    yield from data_dir.__wrapped__()  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
async def world(module_dir: Path) -> AsyncIterator[World]:
    settings = Settings(
        data_dir=module_dir, rate_limit_key="1000000/minute", rate_limit_address="1000000/minute"
    )
    async with AsyncExitStack() as stack:
        platform = await stack.enter_async_context(
            fake_platform(
                module_dir,
                forkable=True,
                rate_limit_key=settings.rate_limit_key,
                rate_limit_address=settings.rate_limit_address,
            )
        )
        listener = stack.enter_context(tcp.listening(settings, "127.0.0.1:0"))
        assert listener is not None
        await stack.enter_async_context(
            serve_platform(platform, module_dir / "run" / "s", grace_s=1.0, tcp=listener)
        )
        http = await stack.enter_async_context(
            httpx2.AsyncClient(transport=_To(listener.url), timeout=_LONG_S)
        )
        document = (await http.get("http://gateway/openapi.json")).json()
        ours, keys = await _fill(platform)
        yield World(platform, http, tuple(_operations(document)), ours, keys)


class _To(httpx2.AsyncHTTPTransport):
    """All requests go to one address."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = httpx2.URL(url)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        request.url = request.url.copy_with(scheme="http", host=self._url.host, port=self._url.port)
        return await super().handle_async_request(request)


def _operations(document: Mapping[str, Any]) -> Iterator[Operation]:
    shared = document["components"].get("parameters", {})
    for path, methods in document["paths"].items():
        for method, described in methods.items():
            if method == "parameters":
                continue
            parameters = [
                shared[each["$ref"].rpartition("/")[2]] if "$ref" in each else each
                for each in described.get("parameters", ())
            ]
            yield Operation(
                described["operationId"], method.upper(), path, {**described, "parameters": parameters}
            )


async def _fill(platform: Platform) -> tuple[dict[str, str], dict[str, str]]:
    ours = (await platform.projects.create("ours")).id
    theirs = (await platform.projects.create("theirs")).id
    vm = await platform.vms.create(VMSpec(name="ours", resources=_SMALL), project=ours)
    execution, _, _ = await platform.executions.run(vm.id, ExecutionSpec(("true",)))
    snapshot = await platform.snapshots.create(vm.id, name="ours")
    job = await platform.jobs.submit(JobSpec((JobStep("a", run="true"),), patch=False), project=ours)
    task = await platform.tasks.submit(TaskSpec("system.noop"), project=ours)
    dead = await platform.tasks.submit(
        TaskSpec("system.noop", {"failures": 9}, retry=Retry(max_attempts=1)), project=ours
    )
    schedule = await platform.schedules.create(
        "ours", ScheduleSpec(TaskSpec("system.noop"), every_s=3600.0), project=ours
    )
    await platform.secrets.set("OURS", "hidden-value", project_id=ours, by="test")
    for waiting in (task, dead):
        await platform.tasks.wait(waiting.id)
    await platform.jobs.wait(job.id)
    keys = {}
    for role in Role:
        for name, project in (("ours", ours), ("theirs", theirs)):
            made = await platform.keys.create(role, project_id=project, role=role, by="test")
            keys[f"{name} {role}"] = made.secret
            if (name, role) == ("ours", Role.VIEWER):
                key_id = made.id
    keys["installation"] = (
        await platform.keys.create("root", project_id=None, role=Role.ADMIN, by="test")
    ).secret
    things = {
        "project": ours,
        "vm": vm.id,
        "execution": execution.id,
        "snapshot": snapshot.id,
        "job": job.id,
        "task": task.id,
        "dead": dead.id,
        "schedule": schedule.id,
        "key": key_id,
        "upload": "upl_0000000000000000",
    }
    return things, keys


def test_every_operation_is_in_the_table(world: World) -> None:
    assert {operation.id for operation in world.operations} == set(PERMISSIONS)
    assert {needed for needed in PERMISSIONS.values() if needed} <= ALL


async def test_without_a_key_nothing_but_what_everybody_may_know(world: World) -> None:
    wrong = []
    for operation in world.operations:
        status, body = await world.call(operation, "", _NOWHERE)
        if PERMISSIONS[operation.id] is None:
            assert status == 200, (operation, status)
        elif status != 401:
            wrong.append((operation.id, status, body[:200]))
    assert wrong == []


@pytest.mark.parametrize("role", Role)
async def test_each_role_may_what_it_may_and_nothing_else(world: World, role: Role) -> None:
    """What is asked for is not there: who may gets to know so, who may not does not."""
    wrong = []
    for operation in world.operations:
        needed = PERMISSIONS[operation.id]
        if needed is None or operation.id in ("whoami_get",):
            continue
        status, body = await world.call(operation, f"theirs {role}", _NOWHERE)
        allowed = needed == KNOWN or needed in ROLES[role]
        refused = status == 403 and (not body or json.loads(body)["code"] == "forbidden")
        if allowed == refused or status in (401, 500):
            wrong.append((operation.id, needed, status, body[:200]))
    assert wrong == []


@pytest.mark.parametrize("role", Role)
async def test_another_tenants_things_are_not_there(world: World, role: Role) -> None:
    """By their ids, by any operation; and no list and no stream has any of them."""
    before = await _state(world)
    theirs = (await world.platform.projects.get("theirs")).id
    wrong = []
    for operation in world.operations:
        if PERMISSIONS[operation.id] is None:
            continue
        values = {**_NOWHERE, "name": "OURS", "execution_id": world.ours["execution"]}
        named = [kind for begin, kind in _KINDS if operation.path.startswith(begin)]
        if named:
            values["ref"] = world.ours[named[0]]
        status, body = await world.call(operation, f"theirs {role}", values)
        leaks = [id_ for id_ in world.ours.values() if id_ in body and id_ not in values.values()]
        if operation.id == "audit_list" and status == 200:
            # The ids that they have tried; what was done in the other project is not there.
            leaks = [each for each in json.loads(body)["items"] if each["event"]["project_id"] != theirs]
        answered = named and "{ref}" in operation.path and status not in _DENIED
        if leaks or answered or "hidden-value" in body or status >= 500:
            wrong.append((operation.id, status, body[:200], leaks))
    assert wrong == []
    assert await _state(world) == before


async def test_an_unknown_thing_and_anothers_are_answered_alike(world: World) -> None:
    for operation in world.operations:
        named = [kind for begin, kind in _KINDS if operation.path.startswith(begin)]
        if not named or "{ref}" not in operation.path or named[0] in ("key", "upload", "project"):
            continue
        there = world.ours[named[0]]
        missing = there[:-16] + "0" * 16
        answers = []
        for ref in (there, missing):
            status, body = await world.call(operation, "theirs admin", {**_NOWHERE, "ref": ref})
            answers.append((status, body.replace(ref, "REF")))
        assert answers[0] == answers[1], operation


async def _state(world: World) -> dict[str, Any]:
    """What the first tenant has."""
    store = world.platform.store.of_project(world.ours["project"])
    return {
        "vms": await store.vms.list(),
        "snapshots": await store.snapshots.list(),
        "jobs": await store.jobs.list(),
        "tasks": await store.tasks.list(),
        "schedules": await store.schedules.list(),
        "projects": await store.projects.list(),
        "keys": await store.api_keys.list(),
        "secrets": await world.platform.secrets.list(project_id=world.ours["project"]),
    }
