"""The audit log over REST and the client: what was done is in it, and whether it is as it was written."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from aetherium.client import AsyncClient, Client
from aetherium.domain.audit import AuditEvent, FindingKind
from aetherium.domain.errors import NotFound
from aetherium.domain.projects import Quota
from aetherium.domain.vms import VMSpec
from aetherium.services.audit.exported import newest_known, verify_lines
from tests.integration.gateway.conftest import Gateway, data_dir
from tests.integration.gateway.raw import call
from tests.integration.storage.live import on, statement

__all__ = ["data_dir"]


async def test_what_was_changed_is_in_it(client: AsyncClient) -> None:
    vm = await client.vms.create(VMSpec(name="box"))
    await client.vms.delete(vm.id)
    with pytest.raises(NotFound):
        await client.vms.delete("nope")
    found = [
        (entry.event.actor, entry.event.action, entry.event.resource, entry.event.outcome)
        for entry in await client.audit.list(action="vm.*")
    ]
    assert found == [
        ("local", "vm.delete", "nope", "not_found"),
        ("local", "vm.delete", "nope", "begun"),
        ("local", "vm.delete", vm.id, "ok"),
        ("local", "vm.delete", vm.id, "begun"),
        ("local", "vm.create", vm.id, "ok"),
        ("local", "vm.create", "", "begun"),
    ]


async def test_entries_are_found_page_by_page(gateway: Gateway, client: AsyncClient) -> None:
    project = await client.projects.create("web", quota=Quota())
    for number in range(7):
        event = AuditEvent("key:a", "test", f"thing {number}", project_id=project.id)
        await gateway.platform.auditor.record(event)
    query = "/v1/audit?actor=key:a&limit=3"
    pages, cursor = [], ""
    while True:
        page = (await call(gateway.socket, "GET", query + cursor)).json()
        pages.append([item["event"]["resource"][-1] for item in page["items"]])
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert pages == [["6", "5", "4"], ["3", "2", "1"], ["0"]]
    assert len(await client.audit.list(project="web", limit=5)) == 5
    assert len(await client.audit.list(resource="thing 3")) == 1
    now = datetime.now(UTC)
    assert await client.audit.list(actor="key:a", since=now + timedelta(minutes=1)) == []
    assert len(await client.audit.list(actor="key:a", since=now - timedelta(minutes=1), until=now)) == 7
    assert await client.audit.list(outcome="forbidden") == []
    with pytest.raises(NotFound):
        await client.audit.list(project="nope")


async def test_reading_it_is_in_it(client: AsyncClient) -> None:
    await client.audit.list()
    assert {entry.event.action for entry in await client.audit.list()} == {"audit.list"}


async def test_an_export_is_verified_elsewhere(client: AsyncClient) -> None:
    await client.projects.create("web", quota=Quota())
    async with client.audit.export() as lines:
        kept = [json.dumps(line) async for line in lines]
    result = verify_lines(kept, [await client.audit.key()])
    assert result.ok
    assert result.entries >= 3
    assert (await client.audit.verify(newest_known(kept))).ok


async def test_what_somebody_did_to_it_is_told(gateway: Gateway, client: AsyncClient) -> None:
    await client.projects.create("web", quota=Quota())
    before = await client.audit.verify()
    assert before.ok
    assert before.head is not None
    database = gateway.platform.settings.data_dir / "aetherium.db"
    await on(database, statement("DROP TRIGGER audit_refuse_update"))
    await on(database, statement("UPDATE audit SET actor = 'nobody' WHERE seq = 1"))
    after = await client.audit.verify({before.head.seq: before.head.hash})
    assert [(found.seq, found.kind) for found in after.findings] == [(1, FindingKind.CHANGED)]
    other = await client.audit.verify({before.head.seq: "0" * 64})
    assert [found.seq for found in other.findings] == [1, before.head.seq]


async def test_what_is_no_hash_is_refused(gateway: Gateway) -> None:
    for wrong in ("1", "1:ab", "x:" + "0" * 64):
        answer = await call(gateway.socket, "GET", f"/v1/audit/verify?known={wrong}")
        assert answer.status_code == 422
        assert answer.json()["code"] == "invalid_input"


async def test_the_client_without_an_event_loop(gateway: Gateway) -> None:
    def work() -> None:
        with Client.unix(gateway.socket) as client:
            assert [entry.event.action for entry in client.audit.list()] == ["audit.list"]
            assert client.audit.verify().key == client.audit.key()
            assert next(client.audit.export())["audit"]["key"] == client.audit.key()

    await asyncio.to_thread(work)


async def test_if_it_cannot_be_written_nothing_is_done(
    gateway: Gateway, client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = gateway.platform.settings.data_dir / "aetherium.db"
    await client.projects.create("web", quota=Quota())
    await on(database, statement("ALTER TABLE audit RENAME TO away"))
    answer = await call(gateway.socket, "POST", "/v1/projects", json={"name": "other"})
    assert answer.status_code == 503
    await on(database, statement("ALTER TABLE away RENAME TO audit"))
    assert [project.name for project in await client.projects.list()] == ["default", "web"]
    assert (await client.audit.verify()).ok
