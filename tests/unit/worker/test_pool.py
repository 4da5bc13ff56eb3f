"""Warm pools."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from aetherium.bootstrap import Platform
from aetherium.domain.executions import ExecutionSpec
from aetherium.domain.images import Image
from aetherium.domain.vms import Resources, VMSpec, VMState
from aetherium.drivers.fake import FakeDriver
from aetherium.interfaces.pool import POOL_LABEL, PoolLevel
from aetherium.services.connections import handle_of
from aetherium.worker import pool
from tests.fixtures.platform import ForkableDriver, data_dir, fake_platform, tiny_images
from tests.fixtures.waiting import eventually

__all__ = ["data_dir"]


async def filled(platform: Platform, count: int) -> None:
    """Wait until that many VMs wait."""

    async def full() -> bool:
        return platform.pools.ready() == count

    await eventually(full, within_s=20)


async def test_a_pooled_vm_is_handed_out_with_its_new_spec(data_dir: Path) -> None:
    async with fake_platform(data_dir, pool=[{"minimum": 2, "maximum": 2}]) as platform:
        await filled(platform, 2)
        assert await platform.vms.list() == []
        waiting = {vm.id for vm in await platform.vms.list(labels={POOL_LABEL: "base-0"})}
        vm = await platform.vms.create(VMSpec(name="mine", labels={"a": "b"}, ttl_s=60))
        assert vm.id in waiting
        assert (vm.spec.name, dict(vm.spec.labels), vm.owner) == ("mine", {"a": "b"}, None)
        await platform.executions.run("mine", ExecutionSpec(("true",)))
        other = await platform.vms.create(VMSpec(resources=Resources(memory_mib=256)))
        assert other.id not in waiting
        await filled(platform, 2)
    async with fake_platform(data_dir, background=False) as platform:
        assert {each.id for each in await platform.host.store.vms.list()} == {vm.id, other.id}


async def test_each_pooled_vm_is_handed_out_once(data_dir: Path) -> None:
    driver = ForkableDriver(FakeDriver(data_dir / "fake"))
    pool = [{"minimum": 3, "maximum": 3}]
    async with fake_platform(data_dir, driver=driver, pool=pool) as platform:
        await filled(platform, 3)
        made = await asyncio.gather(*(platform.vms.create(VMSpec()) for _ in range(6)))
        assert len({vm.id for vm in made}) == 6


async def test_a_vm_that_ended_in_the_pool_is_not_handed_out(data_dir: Path) -> None:
    async with fake_platform(data_dir, pool=[{"minimum": 1, "maximum": 1}]) as platform:
        await filled(platform, 1)
        (dead,) = await platform.vms.list(labels={POOL_LABEL: "base-0"})
        await platform.host.drivers.get("fake").stop(handle_of(dead))
        vm = await platform.vms.create(VMSpec())
        assert vm.id != dead.id
        await platform.executions.run(vm.id, ExecutionSpec(("true",)))


async def test_demand_raises_the_pool_to_its_maximum(data_dir: Path) -> None:
    async with fake_platform(data_dir, pool=[{"minimum": 0, "maximum": 2}]) as platform:
        assert platform.pools.ready() == 0

        async def asked() -> bool:
            vm = await platform.vms.create(VMSpec())
            await platform.vms.delete(vm.id)
            return platform.pools.ready() > 0

        await eventually(asked, within_s=20)


async def test_a_new_image_under_the_tag_empties_the_pool(data_dir: Path) -> None:
    async with fake_platform(data_dir, pool=[{"minimum": 1, "maximum": 1}]) as platform:
        await filled(platform, 1)
        store = await tiny_images(data_dir / "images", "other")
        await store.tag("other", "base")
        vm = await platform.vms.create(VMSpec())
        digest = (await platform.images.get("base")).digest
        assert vm.image_digest == digest

        async def renewed() -> bool:
            waiting = await platform.vms.list(labels={POOL_LABEL: "base-0"}, states=[VMState.RUNNING])
            return [each.image_digest for each in waiting] == [digest]

        await eventually(renewed, within_s=20)


async def test_a_pool_waits_for_its_image_and_says_so_once(
    data_dir: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "IMAGE_S", 0.01)
    pools = [{"image": "later", "minimum": 1, "maximum": 1}]
    with caplog.at_level(logging.INFO, "aetherium.worker.pool"):
        async with fake_platform(data_dir, pool=pools) as platform:
            looks = 0
            look = platform.host.images.get

            async def counted(ref: str) -> Image:
                nonlocal looks
                looks += 1
                return await look(ref)

            async def often() -> bool:
                return looks >= 5

            monkeypatch.setattr(platform.host.images, "get", counted)
            await eventually(often)
            assert platform.pools.level() == PoolLevel(0, 1)
            await (await tiny_images(data_dir / "images", "later")).get("later")
            await filled(platform, 1)
            assert platform.pools.level() == PoolLevel(1, 1)
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert "later" in caplog.records[0].message


async def test_a_short_lived_process_keeps_none(data_dir: Path) -> None:
    async with fake_platform(data_dir, background=False, pool=None) as platform:
        await platform.vms.create(VMSpec())
        assert platform.pools.level() == PoolLevel(0, 0)
        assert len(await platform.host.store.vms.list()) == 1


async def test_one_waits_if_nothing_else_is_said(data_dir: Path) -> None:
    async with fake_platform(data_dir, pool=None) as platform:
        await filled(platform, 1)
        (waiting,) = await platform.vms.list(labels={POOL_LABEL: "base-0"})
        assert (await platform.vms.create(VMSpec())).id == waiting.id
