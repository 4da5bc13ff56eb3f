"""What a store has to do for the audit log."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from aetherium.domain.audit import AuditCheckpoint, AuditEntry, AuditEvent, AuditHead
from aetherium.domain.errors import Conflict
from aetherium.interfaces.audit import AuditBatch, AuditEnd, AuditFilter, Link
from aetherium.interfaces.store import Store
from tests.contract.store.databases import Stores
from tests.contract.store.values import BEGIN
from tests.integration.storage.live import on, statement

OURS, THEIRS = "prj_0000000000000001", "prj_0000000000000002"


def an_event(action: str = "vm.create", **more: str | None) -> AuditEvent:
    """Something that somebody did."""
    return AuditEvent("key:a", action, "vm_1", data={"ü": [1, None, True]}, **more)  # type: ignore[arg-type]


def adding(*events: AuditEvent, checkpoint: bool = False) -> Link:
    """Links in name only."""

    def link(head: AuditHead | None, now: datetime) -> AuditBatch:
        seq, previous = (0, "") if head is None else (head.seq, head.hash)
        entries = []
        for number, event in enumerate(events, seq + 1):
            entries.append(AuditEntry(number, now, event, previous, f"hash {number}"))
            previous = entries[-1].hash
        last = entries[-1]
        end = AuditHead(last.seq, last.hash, f"{last.seq:04x}")
        signed = AuditCheckpoint(last.seq, now, last.hash, "key", "cc")
        return AuditBatch(entries, end, signed if checkpoint else None)

    return link


async def numbers(store: Store, before: int | None = None, limit: int = 100, **where: object) -> list[int]:
    """Of the entries that fit."""
    given = AuditFilter(**where)  # type: ignore[typeddict-item]
    return [entry.seq for entry in await store.audit.list(before=before, limit=limit, **given)]


class AuditContract:
    """The audit log."""

    async def test_what_is_appended_comes_back_as_it_was(self, store: Store) -> None:
        assert await store.audit.end() == AuditEnd(None, None, None)
        event = an_event(project_id=OURS, address="::1", request_id="r", outcome="not_found")
        first = await store.audit.append(adding(event, an_event()))
        second = await store.audit.append(adding(an_event(), checkpoint=True))
        assert await store.audit.entries() == [*first.entries, *second.entries]
        assert [entry.event for entry in first.entries] == [event, an_event()]
        assert await store.audit.end() == AuditEnd(second.head, (3, "hash 3"), second.checkpoint)
        assert await store.audit.checkpoints() == [second.checkpoint]
        assert await store.audit.entries(after=1, limit=1) == [first.entries[1]]
        assert await store.audit.checkpoints(after=3) == []

    async def test_time_is_the_stores(self, stores: Stores) -> None:
        before = await stores.store.now()
        batch = await stores.store.audit.append(adding(an_event()))
        stores.let_pass(60)
        later = await stores.store.audit.append(adding(an_event()))
        assert before <= batch.entries[0].at <= await stores.store.now()
        assert later.entries[0].at - batch.entries[0].at >= timedelta(seconds=60)

    async def test_several_processes_make_one_chain(self, stores: Stores) -> None:
        await stores.store.audit.append(adding(an_event()))
        others = [stores.of_another_process() for _ in range(3)]
        await asyncio.gather(
            *(store.audit.append(adding(an_event(), an_event())) for store in others for _ in range(5))
        )
        found = await stores.store.audit.entries()
        assert [entry.seq for entry in found] == list(range(1, 32))
        assert [entry.previous for entry in found[1:]] == [entry.hash for entry in found[:-1]]

    async def test_of_two_first_ones_one_is_refused(self, stores: Stores) -> None:
        others = [stores.of_another_process() for _ in range(4)]
        calls = [store.audit.append(adding(an_event())) for store in others]
        found = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(each, AuditBatch | Conflict) for each in found)
        made = sum(isinstance(each, AuditBatch) for each in found)
        assert [entry.seq for entry in await stores.store.audit.entries()] == list(range(1, made + 1))

    async def test_numbers_that_are_taken_change_nothing(self, store: Store) -> None:
        batch = await store.audit.append(adding(an_event(), an_event()))

        def again(_: AuditHead | None, now: datetime) -> AuditBatch:
            return adding(an_event("x"), an_event("x"))(AuditHead(1, "", ""), now)

        with pytest.raises(Conflict):
            await store.audit.append(again)
        assert await store.audit.entries() == batch.entries
        assert (await store.audit.end()).head == batch.head

    async def test_a_link_that_raises_adds_nothing(self, store: Store) -> None:
        def refuse(head: AuditHead | None, now: datetime) -> AuditBatch:
            raise ValueError

        with pytest.raises(ValueError):
            await store.audit.append(refuse)
        assert await store.audit.end() == AuditEnd(None, None, None)

    async def test_entries_are_found_by_what_they_say(self, store: Store) -> None:
        await store.audit.append(
            adding(
                an_event("vm.create", project_id=OURS),
                an_event("vm.delete", project_id=THEIRS, outcome="forbidden"),
                an_event("vmx"),
                AuditEvent("", "auth.failure", "key:b", "unauthenticated"),
            )
        )
        assert await numbers(store) == [4, 3, 2, 1]
        assert await numbers(store, before=4, limit=2) == [3, 2]
        assert await numbers(store, action="vm.*") == [2, 1]
        assert await numbers(store, action="vm.delete") == [2]
        assert await numbers(store, action="*") == [4, 3, 2, 1]
        assert await numbers(store, action="v_.*") == []
        assert await numbers(store, project_id=OURS) == [1]
        assert await numbers(store, actor="") == [4]
        assert await numbers(store, actor="key:a", outcome="forbidden") == [2]
        assert await numbers(store, resource="key:b") == [4]
        now = await store.now()
        assert await numbers(store, since=BEGIN, until=now + timedelta(seconds=1)) == [4, 3, 2, 1]
        assert await numbers(store, since=now + timedelta(seconds=1)) == []
        assert await numbers(store, until=BEGIN) == []

    async def test_a_tenant_sees_its_own_entries(self, store: Store) -> None:
        await store.audit.append(adding(an_event(project_id=THEIRS), an_event(project_id=OURS), an_event()))
        tenant = store.of_project(OURS)
        assert await numbers(tenant) == [2]
        assert await numbers(tenant, project_id=THEIRS) == []
        assert [entry.seq for entry in await tenant.audit.entries()] == [2]

    @pytest.mark.parametrize(
        "change",
        [
            "UPDATE audit SET outcome = 'x' WHERE seq = 2",
            "DELETE FROM audit WHERE seq = 3",
            "DELETE FROM audit",
            "UPDATE audit_checkpoints SET hash = 'x'",
            "DELETE FROM audit_checkpoints",
        ],
    )
    async def test_the_database_refuses_to_change_entries(self, stores: Stores, change: str) -> None:
        audit = stores.store.audit
        await audit.append(adding(an_event(), an_event(), an_event(), checkpoint=True))
        before: tuple[Sequence[AuditEntry], AuditEnd] = await audit.entries(), await audit.end()
        with pytest.raises(DBAPIError, match="is changed"):
            await on(stores.where, statement(change))
        assert (await audit.entries(), await audit.end()) == before

    async def test_the_database_refuses_to_replace_entries(self, stores: Stores) -> None:
        audit = stores.store.audit
        batch = await audit.append(adding(an_event()))
        sqlite = isinstance(stores.where, Path)
        change = (
            "INSERT OR REPLACE INTO audit SELECT seq, at, project_id, 'x', action, resource, outcome,"
            " address, request_id, data, previous, hash FROM audit"
            if sqlite
            else "TRUNCATE audit"
        )
        with pytest.raises(DBAPIError, match="is changed"):
            await on(stores.where, statement(change))
        assert await audit.entries() == batch.entries
