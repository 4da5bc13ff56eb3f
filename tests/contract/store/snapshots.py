"""What a store has to do for snapshots."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aetherium.domain.errors import AlreadyExists, InvalidTransition, NotFound
from aetherium.domain.ids import new_id
from aetherium.domain.snapshots import Snapshot, SnapshotState
from aetherium.domain.vms import Resources
from aetherium.interfaces.store import Store
from tests.contract.store.databases import Stores
from tests.contract.store.values import BEGIN, DIGEST


class SnapshotsContract:
    """Snapshots."""

    async def test_the_life_of_a_snapshot(self, store: Store) -> None:
        snapshot = Snapshot(
            new_id("snap"), "nightly", new_id("vm"), "fake", DIGEST, Resources(), SnapshotState.CREATING,
            BEGIN, labels={"a": "b"}, owner="me",
        )  # fmt: skip
        await store.snapshots.add(snapshot)
        with pytest.raises(AlreadyExists):
            await store.snapshots.add(replace(snapshot, id=new_id("snap")))
        assert await store.snapshots.find("nightly") == snapshot
        with pytest.raises(InvalidTransition):
            await store.snapshots.transition(snapshot.id, SnapshotState.DELETING)
        ready = await store.snapshots.transition(
            snapshot.id, SnapshotState.READY, driver_data={"x": [1]}, size_bytes=1 << 40, owner=None
        )
        assert await store.snapshots.list() == [ready]
        assert (ready.driver_data, ready.size_bytes, ready.owner) == ({"x": [1]}, 1 << 40, None)
        assert await store.snapshots.remove(snapshot.id)
        with pytest.raises(NotFound):
            await store.snapshots.get(snapshot.id)

    async def test_a_worker_sees_its_own_snapshots(self, stores: Stores) -> None:
        one, other = stores.seen_by("wkr_1"), stores.seen_by("wkr_2")
        snapshot = Snapshot(
            new_id("snap"), "mine", new_id("vm"), "fake", DIGEST, Resources(), SnapshotState.CREATING, BEGIN
        )
        await one.snapshots.add(snapshot)
        assert [each.worker_id for each in await one.snapshots.list()] == ["wkr_1"]
        assert await other.snapshots.list() == []
        with pytest.raises(NotFound):
            await other.snapshots.get(snapshot.id)
        with pytest.raises(NotFound):
            await other.snapshots.transition(snapshot.id, SnapshotState.READY)
        assert not await other.snapshots.remove(snapshot.id)
        for store in (other, stores.store):  # it may be restored anywhere
            assert (await store.snapshots.find("mine")).state is SnapshotState.CREATING
