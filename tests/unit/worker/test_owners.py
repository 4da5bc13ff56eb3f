"""Owners and their locks."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from aetherium.process import spawned
from aetherium.worker.owners import Owners

PROGRAM = """
import sys
from pathlib import Path
from aetherium.worker.owners import Owners
with Owners(Path(sys.argv[1])).own() as owner:
    print(owner, flush=True)
    sys.stdin.read()
"""


def test_an_owner_lives_as_long_as_its_block(tmp_path: Path) -> None:
    owners, others = Owners(tmp_path), Owners(tmp_path)
    with owners.own() as first, others.own() as second:
        assert first != second
        owners.sweep()
        assert others.living(first)
        assert owners.living(second)
    assert not owners.living(first)
    assert list(tmp_path.iterdir()) == []


async def test_a_killed_owner_is_dead_at_once(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    async with spawned(argv, stdin=-1, stdout=-1) as process:
        assert process.stdout is not None
        owner = (await process.stdout.readline()).decode().strip()
        assert Owners(tmp_path).living(owner)
        process.send_signal(signal.SIGKILL)
        await process.wait()
    assert not Owners(tmp_path).living(owner)
    Owners(tmp_path).sweep()
    assert not (tmp_path / owner).exists()


def test_a_name_that_was_never_an_owner_is_dead(tmp_path: Path) -> None:
    assert not Owners(tmp_path).living("0123456789abcdef")
