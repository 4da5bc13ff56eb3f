"""The drivers that misbehave on purpose."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aetherium.domain.ids import VM, new_id
from aetherium.domain.images import ImagePaths
from aetherium.domain.vms import Resources
from aetherium.drivers.fake import FakeDriver
from aetherium.interfaces.drivers import Condition, Launch
from aetherium.testing import DyingDriver, SlowDriver

NOTHING = Path("/nonexistent")


@pytest.fixture
async def inner(tmp_path: Path) -> AsyncIterator[FakeDriver]:
    driver = FakeDriver(tmp_path)
    yield driver
    for vm_id in await driver.owned():
        await driver.delete(vm_id)


@pytest.fixture
def launch() -> Launch:
    return Launch(new_id(VM), ImagePaths(NOTHING, NOTHING, NOTHING, NOTHING, ""), Resources())


async def test_slow_in_some_methods_only(inner: FakeDriver) -> None:
    loop = asyncio.get_running_loop()
    driver = SlowDriver(inner, 0.05, ["probe"])
    begin = loop.time()
    assert await driver.owned() == []
    assert await driver.probe() == await inner.probe()
    assert loop.time() - begin >= 0.05
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await SlowDriver(inner, 60).owned()


async def test_dies_as_it_starts(inner: FakeDriver, launch: Launch) -> None:
    driver = DyingDriver(inner, ["start"])
    handle = await driver.start(launch)
    assert (await driver.inspect(handle)).condition is Condition.GONE
    assert driver.remaining == 0
    await driver.delete(launch.vm_id)
    handle = await driver.start(launch)
    assert (await driver.inspect(handle)).condition is Condition.RUNNING


async def test_dies_under_a_call(inner: FakeDriver, launch: Launch) -> None:
    driver = DyingDriver(inner, ["wait"])
    handle = await driver.start(launch)
    assert (await driver.inspect(handle)).condition is Condition.RUNNING
    async with asyncio.timeout(5):
        assert (await driver.wait(handle)).condition is Condition.GONE
