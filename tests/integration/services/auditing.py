"""The audit log, whatever its database: what somebody who can write to that does to it is found."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from aetherium.domain.audit import AuditEvent, AuditVerification, FindingKind
from aetherium.domain.errors import Unavailable
from aetherium.interfaces.store import Store
from aetherium.services.audit import log as audit_log
from aetherium.services.audit.exported import newest_known, verify_lines
from aetherium.services.audit.log import INTERRUPTED, KEY_CHANGED, AuditLog, open_audit_log
from aetherium.services.audit.service import AuditService
from aetherium.services.audit.signing import Signer
from tests.contract.store.databases import Stores
from tests.integration.storage.live import on

MASTER, ANOTHER = "a master key of some length", "another master key of some length"
EVENT = AuditEvent("key:a", "vm.create", "vm_1", project_id="prj_1", data={"ü": 1.5})
ENTRIES = 12


@dataclass(frozen=True, slots=True)
class Installation:
    """Processes over one database."""

    stores: Stores

    @asynccontextmanager
    async def process(self, master: str = MASTER, previous: str | None = None) -> AsyncIterator[AuditService]:
        """A gateway's audit log."""
        store, signer = self.stores.of_another_process(), Signer(master, previous)
        async with open_audit_log(store.audit, signer) as log:
            yield AuditService(store, log, signer)

    async def filled(self) -> None:
        """Some entries, and checkpoints at the first and the sixth of them."""
        async with self.process() as service:
            for number in range(ENTRIES):
                if number == 5:
                    self.stores.let_pass(3601)
                await recorder(service).record(EVENT)

    async def tamper(self, *statements: str) -> None:
        """Change the database as somebody does who has nothing else."""
        await on(self.stores.where, _without_triggers)

        def work(connection: sa.Connection) -> None:
            for statement in statements:
                connection.exec_driver_sql(statement)

        await on(self.stores.where, work)

    async def verified(self, known: Mapping[int, str] | None = None) -> AuditVerification:
        """By a process that was just started."""
        async with self.process() as service:
            return await service.verify(known)

    async def findings(self, known: Mapping[int, str] | None = None) -> list[tuple[int, FindingKind]]:
        """Of `verified`."""
        return [(found.seq, found.kind) for found in (await self.verified(known)).findings]


def recorder(service: AuditService) -> AuditLog:
    """Who records."""
    return service._log


def _without_triggers(connection: sa.Connection) -> None:
    if connection.dialect.name == "postgresql":
        for table in ("audit", "audit_checkpoints"):
            connection.exec_driver_sql(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
        return
    names = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'").scalars()
    for name in names.all():
        connection.exec_driver_sql(f"DROP TRIGGER {name}")


class WhatIsRecorded:
    async def test_it_is_there_and_right(self, installation: Installation) -> None:
        async with installation.process() as service:
            await recorder(service).record(EVENT)
            recorder(service).note(EVENT)
            found = await service.list()
            assert [entry.seq for entry in found] == [2, 1]
            assert found[0].event.data == {"ü": "1.5"}
            assert (await service.verify()).ok
            assert [entry.seq for entry in await service.list(before=2, action="vm.*")] == [1]
        result = await installation.verified()
        assert (result.ok, result.entries, result.checkpoints) == (True, 2, 1)

    async def test_an_empty_log_is_right(self, installation: Installation) -> None:
        assert (await installation.verified()).ok

    async def test_what_was_noted_is_written_at_the_end(self, installation: Installation) -> None:
        async with installation.process() as service:
            recorder(service).note(EVENT)
        assert (await installation.verified()).entries == 1
        with pytest.raises(Unavailable):
            await recorder(service).record(EVENT)

    async def test_many_at_once_share_transactions(self, installation: Installation) -> None:
        async with installation.process() as service:
            store = service._store
            turns = _count(store)
            await asyncio.gather(*(recorder(service).record(EVENT) for _ in range(700)))
        assert turns() <= 3
        result = await installation.verified()
        assert (result.ok, result.entries) == (True, 700)

    async def test_processes_at_once_make_one_chain(self, installation: Installation) -> None:
        async def work() -> None:
            async with installation.process() as service:
                for _ in range(5):
                    await asyncio.gather(*(recorder(service).record(EVENT) for _ in range(10)))

        await asyncio.gather(*(work() for _ in range(3)))
        result = await installation.verified()
        assert (result.findings, result.entries) == ((), 150)

    async def test_checkpoints_come_by_number_and_by_time(self, installation: Installation) -> None:
        await installation.filled()
        async with installation.process() as service:
            await asyncio.gather(*(recorder(service).record(EVENT) for _ in range(1100)))
            marks = [mark.seq for mark in await service._store.audit.checkpoints()]
        assert marks[:2] == [1, 6]
        assert len(marks) == 3
        assert 1006 <= marks[2] <= 1506

    async def test_a_store_that_is_away_refuses(
        self, installation: Installation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with installation.process() as service:
            await recorder(service).record(EVENT)
            with monkeypatch.context() as patched:
                patched.setattr(service._store.audit, "append", _away)
                recorder(service).note(EVENT)
                with pytest.raises(Unavailable, match="away"):
                    await recorder(service).record(EVENT)
            await recorder(service).record(EVENT)
        result = await installation.verified()
        assert (result.ok, result.entries) == (True, 3)  # the note was kept

    async def test_one_who_does_not_wait_takes_nothing_away(self, installation: Installation) -> None:
        async with installation.process() as service:
            calls = [asyncio.ensure_future(recorder(service).record(EVENT)) for _ in range(20)]
            await asyncio.sleep(0)
            for call in calls[::2]:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
            assert [call.cancelled() for call in calls] == [True, False] * 10
        result = await installation.verified()
        assert result.ok
        assert result.entries >= 10


TAMPERING = {
    "content": ("UPDATE audit SET actor = 'key:b' WHERE seq = 4", [(4, "changed")]),
    "data": ("UPDATE audit SET data = '{}' WHERE seq = 4", [(4, "changed")]),
    "time": ("UPDATE audit SET at = at + 1 WHERE seq = 4", [(4, "changed")]),
    "project": ("UPDATE audit SET project_id = NULL WHERE seq = 4", [(4, "changed")]),
    "hash": ("UPDATE audit SET hash = previous WHERE seq = 4", [(4, "changed"), (5, "changed")]),
    "removed": ("DELETE FROM audit WHERE seq IN (4, 5)", [(5, "removed")]),
    "first": ("DELETE FROM audit WHERE seq = 1", [(1, "removed")]),
    "last": ("DELETE FROM audit WHERE seq = 12", [(12, "truncated")]),
    "all": ("DELETE FROM audit", [(12, "truncated")]),
    "head": ("DELETE FROM audit_head", [(12, "truncated")]),
    "head set back": ("UPDATE audit_head SET seq = 5, hash = 'x'", [(5, "forged")]),
    "signature": ("UPDATE audit_head SET signature = hash_of", [(12, "forged")]),
    "checkpoint": ("UPDATE audit_checkpoints SET hash = 'x' WHERE seq = 6", [(6, "forged")]),
    "checkpoint's key": ("UPDATE audit_checkpoints SET key = 'x' WHERE seq = 6", [(6, "forged")]),
    "inserted": (
        "INSERT INTO audit SELECT 13, at, project_id, actor, action, resource, outcome, address, request_id,"
        " data, hash, hash FROM audit WHERE seq = 12",
        [(13, "changed"), (13, "inserted")],
    ),
}


class WhatSomebodyDidToIt:
    @pytest.mark.parametrize("name", TAMPERING)
    async def test_is_found(self, installation: Installation, name: str) -> None:
        await installation.filled()
        assert await installation.findings() == []
        change, expected = TAMPERING[name]
        await installation.tamper(
            change.replace("hash_of", "(SELECT signature FROM audit_checkpoints LIMIT 1)")
        )
        found = await installation.findings()
        assert found == [(seq, FindingKind(kind)) for seq, kind in expected]

    async def test_two_that_changed_places(self, installation: Installation) -> None:
        await installation.filled()
        await installation.tamper(
            "UPDATE audit SET seq = 99 WHERE seq = 4",
            "UPDATE audit SET seq = 4 WHERE seq = 8",
            "UPDATE audit SET seq = 8 WHERE seq = 99",
        )
        found = await installation.findings()
        assert {(4, FindingKind.REORDERED), (8, FindingKind.REORDERED)} <= set(found)

    async def test_a_row_that_cannot_be_read(self, installation: Installation) -> None:
        await installation.filled()
        await installation.tamper("UPDATE audit SET at = 9223372036854775807 WHERE seq = 4")
        result = await installation.verified()
        assert [found.kind for found in result.findings] == [FindingKind.CHANGED]
        assert not result.complete

    async def test_a_chain_computed_anew_needs_signatures(self, installation: Installation) -> None:
        await installation.filled()
        await installation.tamper(
            "DELETE FROM audit", "DELETE FROM audit_head", "DELETE FROM audit_checkpoints"
        )
        async with installation.process(master=ANOTHER) as service:
            for _ in range(ENTRIES):
                await recorder(service).record(EVENT)
            known = recorder(service).known
            assert known is not None
        found = await installation.findings()
        assert found == [(1, FindingKind.FORGED), (12, FindingKind.FORGED)]

    async def test_all_set_back_shows_against_what_was_kept(self, installation: Installation) -> None:
        async with installation.process() as service:
            await recorder(service).record(EVENT)
            earlier = (await service.verify()).head
            assert earlier is not None
            await asyncio.gather(*(recorder(service).record(EVENT) for _ in range(3)))
            kept = (await service.verify()).head
            assert kept is not None
            signature = _blob(installation, earlier.signature)
            await installation.tamper(
                "DELETE FROM audit WHERE seq > 1",
                f"UPDATE audit_head SET seq = 1, hash = '{earlier.hash}', signature = {signature}",  # noqa: S608 - ours
            )
            # This process remembers; one that was just started needs to be told.
            assert [found.seq for found in (await service.verify()).findings] == [4]
        assert await installation.findings() == []
        assert await installation.findings({kept.seq: kept.hash}) == [(4, FindingKind.TRUNCATED)]

    @pytest.mark.parametrize(
        ("change", "why"),
        [
            ("DELETE FROM audit_head", "missing"),
            ("UPDATE audit_head SET seq = 5", "set back"),
            ("UPDATE audit_head SET hash = 'x'", "set back"),
            ("UPDATE audit_head SET seq = 50", "not signed"),
        ],
    )
    @pytest.mark.parametrize("restarted", [True, False])
    async def test_nothing_is_signed_over_it(
        self, installation: Installation, change: str, why: str, restarted: bool
    ) -> None:
        await installation.filled()
        async with installation.process() as service:
            if not restarted:
                await recorder(service).record(EVENT)
            await installation.tamper(change)
            await recorder(service).record(EVENT)
            entry, interrupted = await service.list(limit=2)
        assert (entry.event.action, interrupted.event.action) == ("vm.create", INTERRUPTED)
        assert why in interrupted.event.outcome
        result = await installation.verified()
        assert FindingKind.INTERRUPTED in {found.kind for found in result.findings}
        assert result.head is not None
        assert result.head.seq == entry.seq

    async def test_entries_beyond_the_end_are_not_taken_over(self, installation: Installation) -> None:
        await installation.filled()
        async with installation.process() as service:
            await recorder(service).record(EVENT)
            await installation.tamper(TAMPERING["inserted"][0].replace("13", "14"))
            await recorder(service).record(EVENT)
        found = {found.kind for found in (await installation.verified()).findings}
        assert {FindingKind.CHANGED, FindingKind.INTERRUPTED} <= found


class Keys:
    async def test_a_new_master_key_is_recorded(self, installation: Installation) -> None:
        await installation.filled()
        async with installation.process(ANOTHER, previous=MASTER) as service:
            await recorder(service).record(EVENT)
            entry, change = await service.list(limit=2)
            assert (entry.seq, change.event.action) == (14, KEY_CHANGED)
            assert change.event.data == {"previous": Signer(MASTER).key}
        async with installation.process(ANOTHER) as service:  # the old one is not needed any more
            result = await service.verify()
        assert (result.ok, result.checkpoints) == (True, 3)

    async def test_one_that_comes_without_the_old_one_is_an_interruption(
        self, installation: Installation
    ) -> None:
        await installation.filled()
        async with installation.process(ANOTHER) as service:
            await recorder(service).record(EVENT)
            kinds = {found.kind for found in (await service.verify()).findings}
        assert kinds == {FindingKind.INTERRUPTED, FindingKind.FORGED}


class Exports:
    async def test_they_are_verified_without_the_database(self, installation: Installation) -> None:
        await installation.filled()
        async with installation.process() as service:
            lines = await _lines(service)
            assert verify_lines(lines, [service.key]).ok
            assert newest_known(lines) == {12: (await service.list(limit=1))[0].hash}
        await installation.tamper("UPDATE audit SET resource = 'vm_2' WHERE seq = 3")
        async with installation.process() as service:
            found = verify_lines(await _lines(service), [service.key]).findings
        assert [(each.seq, each.kind) for each in found] == [(3, FindingKind.CHANGED)]

    async def test_a_project_gets_its_own(self, installation: Installation) -> None:
        await installation.filled()
        async with installation.process() as service:
            await recorder(service).record(AuditEvent("key:b", "vm.create", "vm_2", project_id="prj_2"))
            lines = [json.loads(text) for text in await _lines(service, "prj_2")]
        assert [set(each) for each in lines] == [{"audit"}, {"entry"}]
        assert lines[1]["entry"]["seq"] == 13

    async def test_one_that_is_empty_is_right(self, installation: Installation) -> None:
        async with installation.process() as service:
            assert verify_lines(await _lines(service), [service.key]).ok

    async def test_what_is_appended_meanwhile_does_not_matter(
        self, installation: Installation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("aetherium.services.audit.exported._PAGE", 5)
        monkeypatch.setattr(audit_log, "CHECKPOINT_ENTRIES", 3)
        await installation.filled()
        async with installation.process() as service:
            async with service.export() as lines:
                found = []
                async for line in lines:
                    found.append(json.dumps(line))
                    await recorder(service).record(EVENT)
            result = verify_lines(found, [service.key])
            assert (result.findings, result.entries) == ((), ENTRIES)
            assert (await service.verify()).ok


class AuditLogContract(WhatIsRecorded, WhatSomebodyDidToIt, Keys, Exports):
    """All of it. Subclasses give a fixture `installation`."""


async def _lines(service: AuditService, project_id: str | None = None) -> list[str]:
    async with service.export(project_id) as lines:
        return [json.dumps(line) async for line in lines]


async def _away(*_: object) -> None:
    raise Unavailable("The database is away.")


def _blob(installation: Installation, digits: str) -> str:
    return f"x'{digits}'" if isinstance(installation.stores.where, Path) else f"'\\x{digits}'"


def _count(store: Store) -> Callable[[], int]:
    """How many transactions append."""
    turns = 0
    append = store.audit.append

    async def counted(*arguments: object) -> object:
        nonlocal turns
        turns += 1
        return await append(*arguments)  # type: ignore[arg-type]

    store.audit.append = counted  # type: ignore[method-assign, assignment]
    return lambda: turns
