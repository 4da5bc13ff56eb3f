"""Disks: layers, links, limits."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from aetherium.domain.errors import LimitExceeded
from aetherium.drivers import directories
from aetherium.drivers.qemu import disks
from aetherium.drivers.qemu.files import allocated
from aetherium.drivers.qemu.home import Home
from aetherium.process import run

VM_ID = "vm_0000000000000001"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home.of(tmp_path, VM_ID)
    directories.create(home.path)
    return home


async def test_an_empty_disk_takes_next_to_nothing(home: Home, tmp_path: Path) -> None:
    await disks.Disks(tmp_path / ".cache").create(home, 4096)
    assert allocated(home.disk(0)) < 1 << 20
    assert allocated(home.disk(1)) < 1 << 20
    info = json.loads((await run(["qemu-img", "info", "--output=json", str(home.disk(1))])).stdout)
    assert info["virtual-size"] == 4096 << 20
    assert info["backing-filename"] == "disk-0"
    await run(["qemu-img", "check", str(home.disk(1))])
    await run(["e2fsck", "-fn", str(home.disk(0))])


async def test_many_at_once_share_one_template(tmp_path: Path) -> None:
    cache = disks.Disks(tmp_path / ".cache")
    homes = [Home.of(tmp_path, f"vm_000000000000000{number}") for number in range(5)]
    for home in homes:
        directories.create(home.path)
    await asyncio.gather(*(cache.create(home, 64) for home in homes))
    assert len(list((tmp_path / ".cache").iterdir())) == 2


async def test_layers_are_found_wherever_they_are_linked(home: Home, tmp_path: Path) -> None:
    cache = disks.Disks(tmp_path / ".cache")
    await cache.create(home, 64)
    await cache.overlay(home, 64, 2)
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    await disks.capture(home, 2, snapshot)
    child = Home.of(tmp_path, "vm_0000000000000002")
    directories.create(child.path)
    disks.adopt(snapshot, 2, child)
    await cache.overlay(child, 64, 3)
    chain = await run(["qemu-img", "info", "--backing-chain", "--output=json", str(child.disk(3))])
    assert len(json.loads(chain.stdout)) == 4


async def test_the_chain_has_an_end(home: Home, tmp_path: Path) -> None:
    with pytest.raises(LimitExceeded):
        await disks.Disks(tmp_path / ".cache").overlay(home, 64, disks.MAX_LEVEL + 1)
