"""Objects in a directory."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from aetherium.domain.errors import Conflict
from aetherium.interfaces.objects import ObjectStore
from aetherium.objects.local import LocalObjects
from aetherium.objects.opening import open_objects
from tests.contract.objects.contract import ObjectStoreContract, test_a_key_that_passes_stays_below

__all__ = ["test_a_key_that_passes_stays_below"]


class TestLocalObjects(ObjectStoreContract):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> ObjectStore:
        return open_objects(f"file://{tmp_path}/objects")

    @pytest.fixture
    def place(self, tmp_path: Path) -> Sequence[str]:
        return [f"file://{tmp_path}/objects"]

    @pytest.fixture
    def broken(self, tmp_path: Path) -> ObjectStore:
        # A link in a circle stands for a disk that is not there: root may read and write everything else.
        (tmp_path / "circle").symlink_to(tmp_path / "circle")
        return LocalObjects(tmp_path / "circle")

    async def left(self, store: ObjectStore) -> Sequence[str]:
        assert isinstance(store, LocalObjects)
        return [path.name for path in store.staging.iterdir()]

    async def test_empty_directories_go(self, store: ObjectStore, tmp_path: Path) -> None:
        await store.put("a/b/c", b"")
        await store.remove("a/b/c")
        assert [*(tmp_path / "objects" / "data").iterdir()] == []

    async def test_an_object_is_no_folder(self, store: ObjectStore) -> None:
        await store.put("a/b", b"")
        for key in ("a", "a/b/c"):
            with pytest.raises(Conflict):
                await store.put(key, b"")
        assert await self.left(store) == []

    async def test_puts_and_removes_of_one_directory(self, store: ObjectStore) -> None:
        """Directories go and come under the hands of the others."""

        async def work(number: int) -> None:
            for _ in range(50):
                await store.put(f"a/b/{number}", b"x")
                await store.remove(f"a/b/{number}")

        async with asyncio.TaskGroup() as group:
            for number in range(4):
                group.create_task(work(number))
        assert await store.list("") == []
