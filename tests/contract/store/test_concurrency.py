"""Several processes and many tasks write one database, and no update is lost."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from aetherium.interfaces.clock import SystemClock
from aetherium.process import run
from aetherium.storage.store import open_store
from tests.contract.store.values import a_vm

TIMES = 640


async def test_no_update_of_two_processes_is_lost(tmp_path: Path) -> None:
    database = tmp_path / "test.db"
    vm = a_vm()
    async with open_store(database, SystemClock()) as store:
        await store.vms.add(vm)
        argv = [
            sys.executable,
            "-m",
            "tests.contract.store.counting",
            str(database),
            vm.id,
            str(TIMES // 2),
            "8",
        ]
        await asyncio.gather(*(run(argv, timeout_s=120) for _ in range(2)))
        assert (await store.vms.get(vm.id)).reason == str(TIMES)


async def test_a_cancelled_write_leaves_no_lock(tmp_path: Path) -> None:
    async with open_store(tmp_path / "test.db", SystemClock()) as store:
        vm = a_vm()
        await store.vms.add(vm)
        for turns in range(40):
            task = asyncio.ensure_future(store.vms.touch({vm.id: vm.created_at}))
            for _ in range(turns):
                await asyncio.sleep(0)  # let it come a little further each time
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        async with asyncio.timeout(5):
            await store.vms.edit(vm.id, lambda row: row)


async def test_two_processes_make_one_database(tmp_path: Path) -> None:
    database = tmp_path / "new" / "test.db"
    code = (
        "import asyncio, sys; from pathlib import Path;"
        "from aetherium.storage.store import open_store; from aetherium.interfaces.clock import SystemClock\n"
        "async def main():\n"
        "    async with open_store(Path(sys.argv[1]), SystemClock()) as store: await store.vms.list()\n"
        "asyncio.run(main())"
    )
    argv = [sys.executable, "-c", code, str(database)]
    await asyncio.gather(*(run(argv, timeout_s=60) for _ in range(3)))
