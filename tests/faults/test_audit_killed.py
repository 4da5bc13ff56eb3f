"""Processes that record at once are killed: the chain is whole, and has all that was durable."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from pathlib import Path

from aetherium.interfaces.clock import SystemClock
from aetherium.process import spawned
from aetherium.services.audit.log import open_audit_log
from aetherium.services.audit.service import AuditService
from aetherium.services.audit.signing import Signer
from aetherium.storage.migrating import migrate
from aetherium.storage.store import open_store
from tests.faults.recording import MASTER

SEED = int(os.environ.get("AETHERIUM_TEST_SEED") or random.randrange(1 << 32))
KILLS = 3
PROCESSES = 2


async def _recorded(where: Path | str, name: str, lines: int) -> list[str]:
    """What a process that is killed behind so many lines has written."""
    argv = [sys.executable, "-m", "tests.faults.recording", str(where), name]
    async with spawned(argv, stdout=asyncio.subprocess.PIPE) as process:
        assert process.stdout is not None
        found = [await process.stdout.readline() for _ in range(lines)]
        process.kill()
        found += (await process.stdout.read()).splitlines(keepends=True)
        await process.wait()
    assert all(found), "it has ended by itself"
    return [line.decode().strip() for line in found if line.endswith(b"\n")]


async def _check(where: Path | str) -> None:
    print(f"AETHERIUM_TEST_SEED={SEED}")
    chance = random.Random(SEED)
    durable: list[str] = []
    for turn in range(KILLS):
        calls = [_recorded(where, f"{turn}-{each}", chance.randint(1, 300)) for each in range(PROCESSES)]
        for found in await asyncio.gather(*calls):
            durable += found
    signer = Signer(MASTER)
    async with (
        open_store(where, SystemClock()) as store,
        open_audit_log(store.audit, signer) as log,
    ):
        service = AuditService(store, log, signer)
        result = await service.verify()
        assert result.findings == ()
        recorded = []
        after = 0
        while page := await store.audit.entries(after=after):
            assert [entry.seq for entry in page] == list(range(after + 1, after + 1 + len(page)))
            recorded += [entry.event.resource for entry in page if entry.event.action == "test"]
            after = page[-1].seq
        assert result.entries == after
    assert len(set(recorded)) == len(recorded)
    assert set(durable) <= set(recorded)


async def test_killed_over_sqlite(tmp_path: Path) -> None:
    await asyncio.to_thread(migrate, tmp_path / "test.db")
    await _check(tmp_path / "test.db")


async def test_killed_over_postgres(postgres_store_url: str) -> None:
    await _check(postgres_store_url)
