"""VMs and snapshots through gRPC."""

from __future__ import annotations

import pytest

from aetherium.domain.errors import (
    AetheriumError,
    AlreadyExists,
    Conflict,
    InvalidInput,
    NotFound,
    Unavailable,
)
from aetherium.domain.vms import VMSpec, VMState
from aetherium.gateway.remote.channels import Channels
from tests.integration.rpc.conftest import TOKEN, Cluster, sh


async def test_vms_are_found_looked_at_and_extended(cluster: Cluster) -> None:
    vms = cluster.remote.vms
    assert await vms.get("box") == await vms.get(cluster.vm.id[:10])
    assert [vm.id for vm in await vms.list(states=[VMState.RUNNING])] == [cluster.vm.id]
    metrics = await vms.metrics("box")
    assert metrics.condition == "running"
    assert metrics.guest is not None
    assert metrics.guest.memory_total > 0
    assert isinstance(await vms.console("box", max_bytes=100), bytes)
    assert {check.name: check.ok for check in await vms.diagnose("box")}["agent"]
    assert (await vms.extend("box", 1000.0)).expires_at is not None
    assert (await vms.extend("box", None)).expires_at is None


async def test_vms_are_forked_stopped_and_deleted(cluster: Cluster) -> None:
    vms = cluster.remote.vms
    forks = await vms.fork("box", 2, names=("one", "two"))
    assert [vm.spec.name for vm in forks] == ["one", "two"]
    _, out, _ = await cluster.remote.executions.run("two", sh("echo here"))
    assert out == b"here\n"
    stopped = await vms.stop("one", grace_s=0.0)
    assert stopped.state is VMState.STOPPED
    await vms.delete("one")
    with pytest.raises(NotFound):
        await vms.get("one")
    assert {vm.id for vm in await vms.list()} == {cluster.vm.id, forks[1].id}


async def test_snapshots_are_made_listed_restored_and_deleted(cluster: Cluster) -> None:
    snapshots = cluster.remote.snapshots
    made = await snapshots.create("box", name="first")
    assert await snapshots.get("first") == made
    assert [snapshot.id for snapshot in await snapshots.list()] == [made.id]
    with pytest.raises(AlreadyExists):
        await snapshots.create("box", name="first")
    restored = await cluster.remote.vms.create(VMSpec(), snapshot="first")
    assert restored.snapshot_id == made.id
    await snapshots.delete("first")
    with pytest.raises(NotFound):
        await snapshots.delete("first")


async def test_refusals_are_those_of_the_service(cluster: Cluster) -> None:
    vms = cluster.remote.vms
    with pytest.raises(InvalidInput) as caught:
        await vms.fork("box", 1000)
    assert caught.value.details == {"field": "count"}
    assert caught.value.hint
    with pytest.raises(InvalidInput):
        await vms.extend("box", -1.0)
    with pytest.raises(AetheriumError) as local:
        await cluster.worker.vms.resume("box")
    with pytest.raises(type(local.value)) as remote:
        await vms.resume("box")
    assert (remote.value.message, remote.value.details) == (local.value.message, local.value.details)
    await vms.stop("box", grace_s=0.0)
    with pytest.raises(Conflict) as refused:
        await cluster.remote.executions.run("box", sh("true"))
    assert refused.value.details == {"state": "stopped", "vm_id": cluster.vm.id}
    async with vms.guest("box") as guest:
        with pytest.raises(Conflict):
            await guest.stat("/")


async def test_a_wrong_token_is_refused_and_named(cluster: Cluster) -> None:
    async with Channels(TOKEN[::-1]) as channels:
        remote = cluster.connect(channels)
        with pytest.raises(Unavailable, match="token") as caught:
            await remote.vms.metrics("box")
        assert "cluster_token" in caught.value.hint
        with pytest.raises(Unavailable, match="token"):
            await remote.executions.run("box", sh("true"))
        async with remote.vms.guest("box") as guest:
            with pytest.raises(Unavailable, match="token"):
                await guest.write("/tmp/x", b"")
    with pytest.raises(InvalidInput, match="token"):
        Channels("short")


async def test_idle_connections_are_closed(cluster: Cluster) -> None:
    async with Channels(TOKEN, idle_s=0.0) as channels:
        remote = cluster.connect(channels)
        await remote.vms.console("box")
        async with remote.executions.launch("box", sh("sleep 60")) as (execution, _):
            async with channels.use("127.0.0.1:1"):
                assert channels.addresses == {"127.0.0.1:1", cluster.address}
            async with channels.use("127.0.0.1:2"):
                assert channels.addresses == {"127.0.0.1:2", cluster.address}  # which is still in use
        await remote.executions.kill(execution.id)
