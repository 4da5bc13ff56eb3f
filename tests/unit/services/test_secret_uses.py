"""Stored secrets on their way to executions, over the fake driver."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from aetherium.bootstrap import Platform
from aetherium.domain.errors import Conflict, InvalidInput, NotFound, Unavailable
from aetherium.domain.executions import ExecutionSpec
from aetherium.domain.secrets import SecretScope
from aetherium.domain.tasks import TaskSpec, TaskState
from aetherium.domain.vms import VM, VMSpec
from aetherium.interfaces.secrets import SecretProvider
from aetherium.services.executions import ExecutionService
from aetherium.services.secrets.uses import SecretUses
from aetherium.services.settling import Settler
from tests.fixtures.platform import data_dir, fake_platform
from tests.fixtures.secrets import Recorder

__all__ = ["data_dir"]

VALUE = "open-sesame-51"
PRINT = ExecutionSpec(("sh", "-c", 'echo "<$TOKEN>"; echo "${#TOKEN}"; echo "$TOKEN" >&2'))
ASKS = replace(PRINT, secret_names=("TOKEN",))
MASKED = f"<{'*' * len(VALUE)}>\n{len(VALUE)}\n".encode()


@pytest.fixture
async def platform(data_dir: Path) -> AsyncIterator[Platform]:
    async with fake_platform(data_dir, forkable=True, warm_snapshots=0) as platform:
        yield platform


@pytest.fixture
async def vm(platform: Platform) -> VM:
    return await platform.vms.create(VMSpec())


@pytest.fixture
def auditor() -> Recorder:
    return Recorder()


@pytest.fixture
def executions(platform: Platform, auditor: Recorder) -> ExecutionService:
    """With an audit log that the test reads."""
    provider: SecretProvider = platform.secrets._provider

    async def tags_of(digest: str) -> tuple[str, ...]:
        return (await platform.host.images.get(digest)).tags

    uses = SecretUses(provider, auditor, tags_of)
    return ExecutionService(platform.host, platform.vms, Settler(platform.host), uses)


async def test_it_is_given_masked_recorded_and_noted(
    platform: Platform, executions: ExecutionService, vm: VM, auditor: Recorder
) -> None:
    secret = await platform.secrets.set("TOKEN", VALUE)
    execution, out, err = await executions.run(vm.id, ASKS, by="key:a")
    assert out == MASKED
    assert err == b"*" * len(VALUE) + b"\n"
    assert execution.secret_names == ("TOKEN",)
    (event,) = auditor.events
    assert (event.actor, event.action, event.resource) == ("key:a", "secret.use", secret.id)
    assert event.project_id == vm.project_id
    assert event.data == {
        "name": "TOKEN",
        "scope": "project",
        "target": "",
        "version": 1,
        "execution": execution.id,
        "vm": vm.id,
    }
    assert (await platform.secrets.get("TOKEN")).used_at is not None
    assert VALUE not in repr((execution, event, await executions.get(execution.id)))


async def test_every_way_to_run_gives_it(platform: Platform, vm: VM) -> None:
    await platform.secrets.set("TOKEN", VALUE)
    async with platform.executions.launch(vm.id, ASKS) as (_, attachment):
        launched = b"".join([chunk.data async for chunk in attachment if chunk.stream == "stdout"])
    assert launched == MASKED
    started = await platform.executions.start(vm.id, ASKS)
    async with platform.executions.attach(started.id) as attachment:
        assert b"".join([chunk.data async for chunk in attachment if chunk.stream == "stdout"]) == MASKED
    task = await platform.tasks.submit(
        TaskSpec("vm.exec", {"vm_id": vm.id, "argv": list(PRINT.argv), "secret_names": ["TOKEN"]})
    )
    done = await platform.tasks.wait(task.id)
    assert done.state is TaskState.SUCCEEDED, done.error
    assert done.result is not None
    assert done.result["stdout"] == MASKED.decode()


async def test_what_runs_with_a_stored_secret_is_not_put_into_a_snapshot(platform: Platform, vm: VM) -> None:
    await platform.secrets.set("TOKEN", VALUE)
    sleeping = ExecutionSpec(("sleep", "60"), secret_names=("TOKEN",))
    execution = await platform.executions.start(vm.id, sleeping)
    assert execution.secret_names == ("TOKEN",)
    with pytest.raises(Conflict, match="secrets"):
        await platform.snapshots.create(vm.id)
    await platform.executions.kill(execution.id)


async def test_a_missing_one_is_named_before_anything_runs(
    platform: Platform, vm: VM, data_dir: Path
) -> None:
    await platform.secrets.set("TOKEN", VALUE)
    trace = data_dir / "trace"
    asks = ExecutionSpec(("touch", str(trace)), secret_names=("TOKEN", "LOST"))
    with pytest.raises(NotFound, match="'LOST'"):
        await platform.executions.run(vm.id, asks)
    with pytest.raises(NotFound, match="'LOST'"):
        await platform.executions.start(vm.id, asks)
    task = await platform.tasks.submit(
        TaskSpec("vm.exec", {"vm_id": vm.id, "argv": ["touch", str(trace)], "secret_names": ["LOST"]})
    )
    done = await platform.tasks.wait(task.id)
    assert (done.state, done.error_code) == (TaskState.DEAD, "not_found")
    assert "LOST" in done.error
    assert not trace.exists()
    assert await platform.executions.list(vm.id) == []


async def test_without_a_record_nothing_is_given(
    platform: Platform, executions: ExecutionService, vm: VM, auditor: Recorder
) -> None:
    await platform.secrets.set("TOKEN", VALUE)
    auditor.broken = True
    with pytest.raises(Unavailable, match="audit log"):
        await executions.run(vm.id, ASKS)
    assert await executions.list(vm.id) == []
    assert (await platform.secrets.get("TOKEN")).used_at is None
    assert (await executions.run(vm.id, PRINT))[1] == b"<>\n0\n"


async def test_scopes_by_image(platform: Platform, vm: VM) -> None:
    for target, value in ((vm.image_digest, "by-digest"), ("base", "by-tag"), ("other", "by-other")):
        await platform.secrets.set("TOKEN", value, scope=SecretScope.IMAGE, target=target)
    await platform.secrets.set("TOKEN", "of-a-job", scope=SecretScope.JOB, target="job")
    length = ExecutionSpec(("sh", "-c", "printf %s ${#TOKEN}"), secret_names=("TOKEN",))
    assert (await platform.executions.run(vm.id, length))[1] == b"9"  # by-digest
    await platform.secrets.delete("TOKEN", scope=SecretScope.IMAGE, target=vm.image_digest)
    assert (await platform.executions.run(vm.id, length))[1] == b"6"  # by-tag
    await platform.secrets.delete("TOKEN", scope=SecretScope.IMAGE, target="base")
    with pytest.raises(NotFound):
        await platform.executions.run(vm.id, length)


async def test_a_later_tag_of_the_image_counts_too(platform: Platform, vm: VM) -> None:
    await platform.secrets.set("TOKEN", VALUE, scope=SecretScope.IMAGE, target="stable")
    with pytest.raises(NotFound):
        await platform.executions.run(vm.id, ASKS)
    await platform.images.tag("base", "stable")
    assert (await platform.executions.run(vm.id, ASKS))[1] == MASKED


async def test_another_project_has_none_of_it(platform: Platform) -> None:
    await platform.secrets.set("TOKEN", VALUE)
    other = await platform.projects.create("other")
    vm = await platform.vms.create(VMSpec(), project=other.id)
    with pytest.raises(NotFound):
        await platform.executions.run(vm.id, ASKS)
    await platform.secrets.set("TOKEN", "theirs", project_id=other.id)
    assert (await platform.executions.run(vm.id, ASKS))[1] == b"<******>\n6\n"


async def test_a_value_of_ones_own_goes_first(
    platform: Platform, executions: ExecutionService, vm: VM, auditor: Recorder
) -> None:
    await platform.secrets.set("TOKEN", VALUE)
    own = replace(ASKS, secret_env={"TOKEN": "mine"})
    assert (await executions.run(vm.id, own))[1] == b"<****>\n4\n"
    assert auditor.events == []


def test_a_name_that_no_secret_has_is_refused() -> None:
    for name in ("", "lower", "A-B", "1A", "A" * 64, "A\n"):
        with pytest.raises(InvalidInput, match="name"):
            ExecutionSpec(("true",), secret_names=(name,))
