"""Opening and closing a platform."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from aetherium.bootstrap import open_platform
from aetherium.domain.errors import InvalidInput, Unavailable
from aetherium.domain.executions import ExecutionSpec
from aetherium.domain.vms import VMSpec
from aetherium.settings import Settings
from tests.fixtures.platform import data_dir, fake_platform

__all__ = ["data_dir"]


def mode(path: Path) -> int:
    """Its permission bits."""
    return path.stat().st_mode & 0o777


async def opened(data_dir: Path, **settings: object) -> int:
    """Open and close; the mode of the directory."""
    loaded = Settings.load(data_dir=data_dir, **{"drivers": ("fake",), **settings})
    async with open_platform(loaded, background=False):
        return mode(data_dir)


async def test_a_data_directory_becomes_private(data_dir: Path) -> None:
    readable = data_dir / "readable"
    await asyncio.to_thread(readable.mkdir, mode=0o755)
    assert await opened(readable) == 0o700
    assert await opened(data_dir / "new" / "one") == 0o700


async def test_a_data_directory_that_others_may_write_is_refused(data_dir: Path) -> None:
    os.chmod(data_dir, 0o777)  # noqa: PTH101, S103  # the point of the test
    with pytest.raises(InvalidInput, match="may write"):
        await opened(data_dir)


async def test_a_data_directory_that_cannot_be_is_refused(data_dir: Path) -> None:
    await asyncio.to_thread((data_dir / "file").touch)
    with pytest.raises(Unavailable):
        await opened(data_dir / "file")


async def test_an_unknown_driver_is_refused(data_dir: Path) -> None:
    with pytest.raises(InvalidInput, match="no driver"):
        await opened(data_dir, drivers=("qemv",))


async def test_what_the_block_raises_comes_out_as_it_is(data_dir: Path) -> None:
    with pytest.raises(KeyError):
        async with fake_platform(data_dir):
            raise KeyError
    assert list((data_dir / "owners").iterdir()) == []


async def test_a_cancelled_platform_closes_in_order(data_dir: Path) -> None:
    made = asyncio.Event()

    async def live() -> None:
        async with fake_platform(data_dir, pool=[{"minimum": 1}]) as platform:
            vm = await platform.vms.create(VMSpec(name="kept"))
            await platform.executions.run(vm.id, ExecutionSpec(("true",)))
            made.set()
            await asyncio.get_running_loop().create_future()

    task = asyncio.ensure_future(live())
    await asyncio.wait_for(made.wait(), 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with fake_platform(data_dir, background=False) as platform:
        (vm,) = await platform.host.store.vms.list()
        assert vm.spec.name == "kept"
        assert len(await platform.executions.list("kept")) == 1
