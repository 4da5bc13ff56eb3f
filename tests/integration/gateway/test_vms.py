"""VMs and snapshots through the gateway and the client."""

from __future__ import annotations

import asyncio

import pytest

from aetherium.client.aio import AsyncClient
from aetherium.domain.errors import AlreadyExists, InvalidInput, NotFound
from aetherium.domain.vms import VM, VMSpec, VMState


async def test_a_vm_is_created_found_and_deleted(client: AsyncClient) -> None:
    steps: list[str] = []
    vm = await client.vms.create(VMSpec(name="one", labels={"team": "a"}), progress=steps.append)
    assert vm.state is VMState.RUNNING
    assert steps
    assert vm.handle is None
    assert vm.owner is None
    assert (await client.vms.get("one")).id == vm.id
    assert (await client.vms.get(vm.id[:10])).id == vm.id
    assert [found.id for found in await client.vms.list(labels={"team": "a"})] == [vm.id]
    assert await client.vms.list(labels={"team": "b"}) == []
    await client.vms.delete("one")
    with pytest.raises(NotFound) as caught:
        await client.vms.get("one")
    assert caught.value.details == {"kind": "VM", "ref": "one"}


async def test_errors_keep_class_hint_and_details(client: AsyncClient, vm: VM) -> None:
    with pytest.raises(AlreadyExists):
        await client.vms.create(VMSpec(name="box"))
    with pytest.raises(NotFound):
        await client.vms.create(VMSpec(image="nothing"))
    with pytest.raises(InvalidInput) as caught:
        await client.vms.create(VMSpec(driver="nothing"))
    assert caught.value.hint


async def test_pause_resume_extend_stop(client: AsyncClient, vm: VM) -> None:
    assert (await client.vms.pause("box")).state is VMState.PAUSED
    assert (await client.vms.resume("box")).state is VMState.RUNNING
    extended = await client.vms.extend("box", 60)
    assert extended.spec.ttl_s is not None
    assert (await client.vms.extend("box", None)).spec.ttl_s is None
    assert (await client.vms.stop("box", grace_s=0.1)).state is VMState.STOPPED


async def test_metrics_console_and_diagnosis(client: AsyncClient, vm: VM) -> None:
    metrics = await client.vms.metrics("box")
    assert metrics.vm_id == vm.id
    assert metrics.guest is not None
    assert isinstance(await client.vms.console("box"), bytes)
    assert [check.name for check in await client.vms.diagnose("box")] == [
        "process",
        "console",
        "transport",
        "handshake",
        "agent",
    ]


async def test_fork_and_snapshot(client: AsyncClient, vm: VM) -> None:
    forks = await client.vms.fork("box", names=("left", "right"), count=2)
    assert [fork.spec.name for fork in forks] == ["left", "right"]
    snapshot = await client.snapshots.create("box", name="ready")
    assert [found.id for found in await client.snapshots.list()] == [snapshot.id]
    copy = await client.vms.create(VMSpec(), snapshot="ready")
    assert copy.snapshot_id == snapshot.id
    for made in (*forks, copy):
        await client.vms.delete(made.id)
    await client.snapshots.delete("ready")
    assert await client.snapshots.list() == []


async def test_lists_come_in_pages(client: AsyncClient) -> None:
    made = [await client.vms.create(VMSpec()) for _ in range(3)]
    transport = client._transport
    first = await transport.call("GET", "/v1/vms", params={"limit": 2})
    assert [item["id"] for item in first["items"]] == [made[2].id, made[1].id]
    rest = await transport.call("GET", "/v1/vms", params={"limit": 2, "cursor": first["next_cursor"]})
    assert [item["id"] for item in rest["items"]] == [made[0].id]
    assert rest["next_cursor"] is None
    await asyncio.gather(*(client.vms.delete(vm.id) for vm in made))


async def test_images_and_doctor(client: AsyncClient) -> None:
    (image,) = await client.images.list()
    assert image.tags == ("base",)
    assert (await client.images.tag("base", "team/base:1")).digest == image.digest
    assert (await client.images.get("team/base:1")).digest == image.digest
    assert await client.images.remove("team/base:1") == 0
    with pytest.raises(NotFound):
        await client.images.get("team/base:1")
    checks = {check.name: check for check in await client.doctor()}
    assert checks["image base"].ok
    assert checks["fake"].ok
    assert not [check for check in checks.values() if not check.ok and not check.hint]
