"""VMs over the fake driver: whole services, a real store, real agents."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from aetherium.bootstrap import Platform
from aetherium.domain.errors import (
    AetheriumError,
    AlreadyExists,
    BootFailed,
    Conflict,
    InvalidInput,
    InvalidTransition,
    NotFound,
    Unsupported,
    VMCrashed,
)
from aetherium.domain.executions import ExecutionSpec, ExecutionState
from aetherium.domain.vms import VM, Resources, VMSpec, VMState
from aetherium.drivers.fake import FakeDriver
from aetherium.services.connections import handle_of
from aetherium.services.launching import Launcher, Start
from aetherium.testing.drivers import DyingDriver, SlowDriver
from tests.fixtures.platform import ForkableDriver, data_dir, fake_platform
from tests.fixtures.waiting import eventually

__all__ = ["data_dir"]


def pid_of(vm: VM) -> int:
    """The agent's process."""
    pid = handle_of(vm).data["pid"]
    assert isinstance(pid, int)
    return pid


async def nothing_left(platform: Platform) -> None:
    """No VM in the store, on the host, or in the image's holds."""
    assert await platform.host.store.vms.list() == []
    for driver in platform.host.drivers.all():
        assert await driver.owned() == []
    digest = (await platform.images.get("base")).digest
    assert await platform.host.images.holders(digest) == []


async def test_create_use_and_delete(data_dir: Path) -> None:
    async with fake_platform(data_dir) as platform:
        vm = await platform.vms.create(VMSpec(name="one", env={"WHO": "me"}))
        assert (vm.state, vm.owner) == (VMState.RUNNING, None)
        execution, out, _ = await platform.executions.run("one", ExecutionSpec(("sh", "-c", "echo $WHO")))
        assert (out, execution.state) == (b"me\n", ExecutionState.EXITED)
        assert all(check.ok for check in await platform.vms.diagnose("one"))
        assert (await platform.vms.metrics("one")).guest is not None
        await platform.vms.delete(vm.id)
        with pytest.raises(NotFound):
            await platform.vms.get("one")
        await nothing_left(platform)


async def test_a_taken_name_and_unknown_things_are_refused(data_dir: Path) -> None:
    async with fake_platform(data_dir) as platform:
        await platform.vms.create(VMSpec(name="one"))
        with pytest.raises(AlreadyExists):
            await platform.vms.create(VMSpec(name="one"))
        with pytest.raises(NotFound):
            await platform.vms.create(VMSpec(image="other"))
        with pytest.raises(InvalidInput, match="no driver"):
            await platform.vms.create(VMSpec(driver="other"))
        with pytest.raises(NotFound):
            await platform.vms.create(VMSpec(), snapshot="other")
        with pytest.raises(Unsupported):
            await platform.vms.fork("one")
        await platform.vms.delete("one")
        await nothing_left(platform)


async def test_a_vm_that_dies_while_it_boots_leaves_nothing(data_dir: Path) -> None:
    driver = DyingDriver(FakeDriver(data_dir / "fake"), ["start"])
    async with fake_platform(data_dir, driver=driver) as platform:
        with pytest.raises(BootFailed) as caught:
            await platform.vms.create(VMSpec())
        assert "console" in caught.value.details
        await nothing_left(platform)


@pytest.mark.parametrize("after_s", [0, 0.001, 0.005, 0.02, 0.06, 0.12, 0.2, 0.3])
async def test_a_cancelled_creation_leaves_nothing(data_dir: Path, after_s: float) -> None:
    async with fake_platform(data_dir, forkable=True) as platform:
        task = asyncio.ensure_future(platform.vms.create(VMSpec()))
        await asyncio.wait([task], timeout=after_s)
        task.cancel()
        outcome = (await asyncio.gather(task, return_exceptions=True))[0]
        if isinstance(outcome, VM):
            await platform.vms.delete(outcome.id)
        await nothing_left(platform)


async def test_a_crash_in_an_execution_is_told_within_two_seconds(data_dir: Path) -> None:
    async with fake_platform(data_dir) as platform:
        vm = await platform.vms.create(VMSpec())
        killed = 0.0

        async def kill() -> None:
            nonlocal killed
            async with platform.executions.launch(vm.id, ExecutionSpec(("sh", "-c", "echo; sleep 60"))) as (
                _,
                attachment,
            ):
                async for _ in attachment:
                    os.kill(pid_of(vm), signal.SIGKILL)
                    killed = time.monotonic()

        with pytest.raises(VMCrashed):
            await kill()
        assert time.monotonic() - killed < 2.0

        async def recorded() -> bool:
            if (await platform.vms.get(vm.id)).state is not VMState.FAILED:
                return False
            return (await platform.executions.list(vm.id))[0].state is ExecutionState.LOST

        await eventually(recorded)
        with pytest.raises(Conflict):
            await platform.executions.run(vm.id, ExecutionSpec(("true",)))


async def test_pause_resume_stop(data_dir: Path) -> None:
    async with fake_platform(data_dir) as platform:
        vm = await platform.vms.create(VMSpec())
        assert (await platform.vms.pause(vm.id)).state is VMState.PAUSED
        with pytest.raises(Conflict):
            await platform.executions.run(vm.id, ExecutionSpec(("true",)))
        with pytest.raises(InvalidTransition):
            await platform.vms.pause(vm.id)
        assert (await platform.vms.resume(vm.id)).state is VMState.RUNNING
        with pytest.raises(InvalidTransition):
            await platform.vms.resume(vm.id)
        await platform.executions.run(vm.id, ExecutionSpec(("true",)))
        assert (await platform.vms.stop(vm.id, grace_s=0)).state is VMState.STOPPED
        assert b"agent ready" in await platform.vms.console(vm.id)
        with pytest.raises(InvalidTransition):
            await platform.vms.stop(vm.id)


async def test_changes_of_one_vm_by_many_at_once(data_dir: Path) -> None:
    async with fake_platform(data_dir) as platform:
        vm = await platform.vms.create(VMSpec())
        service = platform.vms
        outcomes = await asyncio.gather(
            *(service.pause(vm.id) for _ in range(4)),
            *(service.resume(vm.id) for _ in range(4)),
            *(service.delete(vm.id) for _ in range(2)),
            return_exceptions=True,
        )
        assert all(isinstance(each, VM | AetheriumError | None) for each in outcomes)
        await nothing_left(platform)


async def test_the_first_vm_leaves_a_warm_snapshot_for_the_others(data_dir: Path) -> None:
    driver = ForkableDriver(FakeDriver(data_dir / "fake"))
    async with fake_platform(data_dir, driver=driver) as platform:
        await asyncio.gather(*(platform.vms.create(VMSpec()) for _ in range(4)))
        assert (driver.started, driver.restored) == (1, 4)
        await platform.vms.create(VMSpec(resources=Resources(memory_mib=256)))
        assert (driver.started, driver.restored) == (2, 5)
        assert len(await platform.vms.list()) == 5
        assert len(await platform.host.store.vms.list()) == 5
    again = ForkableDriver(FakeDriver(data_dir / "fake"))
    async with fake_platform(data_dir, driver=again, background=False) as platform:
        await platform.vms.create(VMSpec())
        assert (again.started, again.restored) == (0, 1)


async def test_a_damaged_warm_snapshot_is_made_anew(data_dir: Path) -> None:
    driver = ForkableDriver(FakeDriver(data_dir / "fake"))
    async with fake_platform(data_dir, driver=driver) as platform:
        await platform.vms.create(VMSpec())
        (found,) = (data_dir / "warm").glob("*/snapshot/memory")
        found.unlink()
        await platform.vms.create(VMSpec())
        assert (driver.started, driver.restored) == (2, 1)


async def test_warm_snapshots_keep_their_limit(data_dir: Path) -> None:
    async with fake_platform(data_dir, forkable=True, warm_snapshots=2) as platform:
        for memory in (128, 256, 384):
            await platform.vms.create(VMSpec(resources=Resources(memory_mib=memory)))
        assert len(list((data_dir / "warm").glob("*/warm.json"))) == 2
    async with fake_platform(data_dir, forkable=True, warm_snapshots=0) as platform:
        await platform.vms.create(VMSpec(resources=Resources(memory_mib=512)))
        assert len(list((data_dir / "warm").glob("*/warm.json"))) == 2


async def test_fork_makes_all_or_none(data_dir: Path) -> None:
    driver = ForkableDriver(DyingDriver(FakeDriver(data_dir / "fake"), (), times=1))
    async with fake_platform(data_dir, driver=driver, warm_snapshots=0) as platform:
        parent = await platform.vms.create(VMSpec(labels={"a": "b"}))
        forks = await platform.vms.fork(parent.id, 2, names=("x", "y"))
        assert [(vm.spec.name, vm.spec.labels, vm.state) for vm in forks] == [
            ("x", {"a": "b"}, VMState.RUNNING),
            ("y", {"a": "b"}, VMState.RUNNING),
        ]
        with pytest.raises(AlreadyExists):
            await platform.vms.fork(parent.id, 2, names=("z", "x"))
        driver.inner = DyingDriver(FakeDriver(data_dir / "fake"), ["start"])
        with pytest.raises(BootFailed):
            await platform.vms.fork(parent.id, 3)
        assert {vm.id for vm in await platform.vms.list()} == {parent.id, *(vm.id for vm in forks)}
        assert list((data_dir / "forks").iterdir()) == []


async def test_forks_are_handed_out_together(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If this process were killed before the last one runs, all of them would be removed."""
    hold, launch = asyncio.Event(), Launcher.launch

    async def slowly(launcher: Launcher, draft: VM, start: Start, *, heir: str | None) -> VM:
        if draft.spec.name == "last":
            await hold.wait()
        return await launch(launcher, draft, start, heir=heir)

    async with fake_platform(data_dir, forkable=True) as platform:
        parent = await platform.vms.create(VMSpec())
        monkeypatch.setattr(Launcher, "launch", slowly)
        names = ("first", "last")
        forking = asyncio.ensure_future(platform.vms.fork(parent.id, 2, names=names, labels={"a": "b"}))

        async def first_runs() -> bool:
            return any(vm.spec.name == "first" for vm in await platform.vms.list(states={VMState.RUNNING}))

        await eventually(first_runs)
        assert (await platform.vms.get("first")).owner == platform.host.owner
        hold.set()
        forks = await forking
        assert [(vm.spec.name, vm.owner) for vm in forks] == [(name, None) for name in names]
        assert all(vm.spec.labels == {"a": "b"} for vm in forks)


async def test_snapshots(data_dir: Path) -> None:
    async with fake_platform(data_dir, forkable=True) as platform:
        vm = await platform.vms.create(VMSpec())
        snapshot = await platform.snapshots.create(vm.id, name="snap")
        with pytest.raises(AlreadyExists):
            await platform.snapshots.create(vm.id, name="snap")
        restored = await platform.vms.create(VMSpec(name="again"), snapshot="snap")
        assert (restored.snapshot_id, restored.state) == (snapshot.id, VMState.RUNNING)
        with pytest.raises(Conflict):
            await platform.images.remove("base")
        await platform.snapshots.delete("snap")
        assert list((data_dir / "snapshots").iterdir()) == []
        async with platform.executions.launch(
            vm.id, ExecutionSpec(("sleep", "60"), secret_env={"S": "hidden"})
        ):
            with pytest.raises(Conflict, match="secrets"):
                await platform.snapshots.create(vm.id)
        for each in await platform.vms.list():
            await platform.vms.delete(each.id)
        await platform.images.remove("base")
        assert list((data_dir / "warm").iterdir()) == []


async def test_extend_counts_from_now(data_dir: Path) -> None:
    async with fake_platform(data_dir) as platform:
        vm = await platform.vms.create(VMSpec(ttl_s=100))
        longer = await platform.vms.extend(vm.id, 500)
        assert longer.expires_at is not None
        assert abs(longer.expires_at - time.time() - 500) < 10
        assert (await platform.vms.extend(vm.id, None)).expires_at is None
        with pytest.raises(InvalidInput):
            await platform.vms.extend(vm.id, 0)


async def test_a_vm_that_is_deleted_while_it_is_made(data_dir: Path) -> None:
    driver = SlowDriver(FakeDriver(data_dir / "fake"), 0.3, ["endpoints"])
    async with fake_platform(data_dir, driver=driver) as platform:
        making = asyncio.ensure_future(platform.vms.create(VMSpec(name="one")))
        await eventually(platform.host.store.vms.list)
        await platform.vms.delete("one")
        begin = time.monotonic()
        outcome = (await asyncio.gather(making, return_exceptions=True))[0]
        assert isinstance(outcome, AetheriumError)
        assert time.monotonic() - begin < 5
        await nothing_left(platform)


async def test_who_uses_a_vm_that_is_deleted_is_told(data_dir: Path) -> None:
    async with fake_platform(data_dir) as platform:
        vm = await platform.vms.create(VMSpec())
        run = asyncio.ensure_future(platform.executions.run(vm.id, ExecutionSpec(("sleep", "60"))))

        async def runs() -> bool:
            async with platform.vms.guest(vm.id) as guest:
                return bool(await guest.executions())

        await eventually(runs)
        await platform.vms.delete(vm.id)
        with pytest.raises(Conflict, match="stopped or deleted"):
            await asyncio.wait_for(run, 2)


async def test_a_row_is_read_again_after_a_change(data_dir: Path) -> None:
    async with fake_platform(data_dir) as platform:
        vm = await platform.vms.create(VMSpec(name="one"))
        await platform.executions.run("one", ExecutionSpec(("true",)))
        await platform.vms.delete("one")
        with pytest.raises(NotFound):
            await platform.executions.run("one", ExecutionSpec(("true",)))
        new = await platform.vms.create(replace(vm.spec))
        execution, _, _ = await platform.executions.run("one", ExecutionSpec(("true",)))
        assert execution.vm_id == new.id


async def test_what_a_stopped_vm_refuses_says_what_to_do(data_dir: Path) -> None:
    async with fake_platform(data_dir, forkable=True) as platform:
        vm = await platform.vms.create(VMSpec(name="ended"))
        await platform.vms.stop(vm.id, grace_s=0)
        for refused in (
            platform.vms.fork("ended"),
            platform.snapshots.create("ended"),
            platform.executions.run("ended", ExecutionSpec(("true",))),
        ):
            with pytest.raises(Conflict) as caught:
                await refused
            assert "is stopped" in caught.value.message
            assert caught.value.hint
        walk = await platform.vms.diagnose("ended")
        assert "the VM is stopped" in walk[0].detail
