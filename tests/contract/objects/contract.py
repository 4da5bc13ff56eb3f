"""What every object store does."""

from __future__ import annotations

import asyncio
import hashlib
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherium.domain.errors import InvalidInput, LimitExceeded, NotFound, Unavailable
from aetherium.interfaces.objects import ObjectStore, check_key
from aetherium.process import spawned
from tests.contract.objects.process import KEY, MIB, pieces

DEADLINE_S = 60.0
HOSTILE = (
    "", "/", "/etc/passwd", "..", "a/../b", "a/..", "./a", "a/./b", "a//b", "a/", "a\0b", "a\nb", "\x7f",
    "\udc80", "x" * 256, "ü" * 128, "x/" * 500 + "x",
)  # fmt: skip
ODD = (
    "a b",
    "ä/日本",
    "%2F%00",
    "a#1",
    "a?b=c&d+e",
    "~'\"()[]{}<>|^`;:@,$!*",
    "...",
    ".hidden",
    "back\\slash",
    "-",
)


async def read(store: ObjectStore, key: str, offset: int = 0, length: int | None = None) -> bytes:
    """All of it."""
    return b"".join([piece async for piece in store.get(key, offset=offset, length=length)])


async def keys(store: ObjectStore, folder: str = "") -> list[str]:
    """The names alone."""
    return [info.key for info in await store.list(folder)]


class ObjectStoreContract:
    """Fixtures to give: `store`; `place`, the arguments with which process.py opens the same store; `broken`,
    a store that cannot be used."""

    @pytest.fixture
    async def store(self) -> ObjectStore:
        raise NotImplementedError

    @pytest.fixture
    def place(self) -> Sequence[str]:
        raise NotImplementedError

    @pytest.fixture
    def broken(self) -> ObjectStore:
        raise NotImplementedError

    async def test_what_was_put_comes_back(self, store: ObjectStore) -> None:
        assert await store.put("a/b.txt", b"hello") == 5
        assert await read(store, "a/b.txt") == b"hello"
        info = await store.stat("a/b.txt")
        assert (info.key, info.size_bytes) == ("a/b.txt", 5)
        assert info.modified_at.tzinfo is not None
        assert [info] == [*await store.list("a")]

    @pytest.mark.parametrize("data", [b"", b"x"])
    async def test_little_data(self, store: ObjectStore, data: bytes) -> None:
        async def stream() -> AsyncIterator[bytes]:
            yield data

        assert await store.put("bytes", data) == await store.put("stream", stream()) == len(data)
        assert await read(store, "bytes") == await read(store, "stream") == data

    async def test_a_put_replaces(self, store: ObjectStore) -> None:
        await store.put("a", b"long before")
        await store.put("a", b"short")
        assert await read(store, "a") == b"short"

    async def test_a_reader_may_stop_early(self, store: ObjectStore) -> None:
        await store.put("a", pieces(16))
        async with aclosing(store.get("a")) as stream:
            assert await anext(stream)
        assert await read(store, "a", 0, 1) == b"\0"

    async def test_large_objects(self, store: ObjectStore) -> None:
        """Across the sizes at which stores begin to send in parts."""
        expected, found = hashlib.sha256(), hashlib.sha256()
        async for piece in pieces(33):
            expected.update(piece)
        assert await store.put("large", pieces(33)) == 33 * MIB
        async for piece in store.get("large"):
            found.update(piece)
        assert found.digest() == expected.digest()

    async def test_memory_is_bounded(self, place: Sequence[str]) -> None:
        argv = [sys.executable, "-m", "tests.contract.objects.process", "stream", *place]
        async with spawned(argv, stdout=asyncio.subprocess.PIPE) as process:
            assert process.stdout is not None
            async with asyncio.timeout(DEADLINE_S):
                grown = int(await process.stdout.readline())
        assert grown < 80  # of 128 MiB; S3 has up to five parts of 8 MiB in memory

    @pytest.mark.parametrize(
        ("offset", "length"),
        [
            (0, 10),
            (5, 5),
            (5, 0),
            (995, None),
            (995, 10),
            (999, 1),
            (1000, None),
            (1000, 5),
            (5000, 1),
            (1, 998),
        ],
    )
    async def test_ranges(self, store: ObjectStore, offset: int, length: int | None) -> None:
        data = bytes(number % 256 for number in range(1000))
        await store.put("a", data)
        end = None if length is None else offset + length
        assert await read(store, "a", offset, length) == data[offset:end]

    async def test_a_range_of_a_large_object(self, store: ObjectStore) -> None:
        await store.put("a", pieces(12))
        assert await read(store, "a", 10 * MIB - 1, 2) == b"\x09\x0a"

    async def test_many_objects_are_listed_by_key(self, store: ObjectStore) -> None:
        wanted = sorted(f"many/{number % 7}/{number}" for number in range(1203))
        waiting = iter(wanted[::-1])

        async def work() -> None:
            for key in waiting:
                await store.put(key, b"x")

        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(work())
        assert await keys(store, "many") == wanted
        assert await keys(store, "many/3") == [key for key in wanted if key.startswith("many/3/")]
        assert await store.remove_all("many/3/") == len(wanted) // 7 + 1
        assert len(await keys(store)) == len(wanted) - len(wanted) // 7 - 1

    async def test_a_folder_is_no_begin_of_a_name(self, store: ObjectStore) -> None:
        for key in ("job_1/x", "job_12/x", "job_1.x"):
            await store.put(key, b"")
        assert await keys(store, "job_1") == await keys(store, "job_1/") == ["job_1/x"]
        assert await store.remove_all("job_1") == 1
        assert await keys(store) == ["job_1.x", "job_12/x"]

    async def test_what_is_not_there(self, store: ObjectStore) -> None:
        await store.put("a/b", b"")
        for key in ("none", "a", "a/c", "a/b/c"):
            with pytest.raises(NotFound):
                await store.stat(key)
            with pytest.raises(NotFound):
                await read(store, key)
            await store.remove(key)
        assert await store.remove_all("none") == 0
        assert await keys(store, "none") == []
        assert await keys(store) == ["a/b"]

    async def test_remove(self, store: ObjectStore) -> None:
        for key in ("a/b/c", "a/d"):
            await store.put(key, b"")
        await store.remove("a/b/c")
        await store.remove("a/b/c")
        assert await keys(store) == ["a/d"]
        with pytest.raises(InvalidInput):
            await store.remove_all("")

    @pytest.mark.parametrize("key", ODD)
    async def test_odd_keys(self, store: ObjectStore, key: str) -> None:
        await store.put(f"odd/{key}", key.encode())
        assert await keys(store, "odd") == [f"odd/{key}"]
        assert await read(store, f"odd/{key}") == key.encode()
        await store.remove(f"odd/{key}")
        assert await keys(store) == []

    @pytest.mark.parametrize("key", HOSTILE)
    async def test_hostile_keys_are_refused(self, store: ObjectStore, key: str) -> None:
        with pytest.raises(InvalidInput):
            await store.put(key, b"")
        with pytest.raises(InvalidInput):
            await read(store, key)
        with pytest.raises(InvalidInput):
            await store.stat(key)
        with pytest.raises(InvalidInput):
            await store.remove(key)
        if key.rstrip("/") != key[:-1]:  # a slash at the end is a folder's right
            with pytest.raises(InvalidInput):
                await store.remove_all(key)

    async def test_one_of_many_puts_wins_whole(self, store: ObjectStore) -> None:
        async def same(number: int) -> AsyncIterator[bytes]:
            for _ in range(9):
                yield bytes([number]) * MIB

        async with asyncio.TaskGroup() as group:
            for number in range(4):
                group.create_task(store.put("same", same(number)))
        data = await read(store, "same")
        assert len(data) == 9 * MIB
        assert data == data[:1] * len(data)

    @pytest.mark.parametrize("after", [0, 1, 20])
    @pytest.mark.parametrize(
        "error", [LimitExceeded("too much"), FileNotFoundError("mine"), ValueError("mine")]
    )
    async def test_what_the_data_raises_is_raised(
        self, store: ObjectStore, after: int, error: Exception
    ) -> None:
        async def failing() -> AsyncIterator[bytes]:
            async for piece in pieces(after):
                yield piece
            raise error

        await store.put("a", b"before")
        with pytest.raises(type(error)) as caught:
            await store.put("a", failing())
        assert caught.value is error
        assert await read(store, "a") == b"before"
        assert await self.left(store) == []

    @pytest.mark.parametrize("after", [0, 20])
    async def test_a_cancelled_put_leaves_nothing(self, store: ObjectStore, after: int) -> None:
        begun = asyncio.Event()

        async def endless() -> AsyncIterator[bytes]:
            async for piece in pieces(after):
                yield piece
            begun.set()
            await asyncio.Event().wait()

        task = asyncio.ensure_future(store.put("a", endless()))
        async with asyncio.timeout(DEADLINE_S):
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert await keys(store) == []
        assert await self.left(store) == []

    @pytest.mark.parametrize("after_mib", [1, 40])
    async def test_a_killed_put_leaves_what_was_there(
        self, store: ObjectStore, place: Sequence[str], after_mib: int
    ) -> None:
        await store.put(KEY, b"before")
        argv = [sys.executable, "-m", "tests.contract.objects.process", "endless", *place]
        async with spawned(argv, stdout=asyncio.subprocess.PIPE) as process:
            assert process.stdout is not None
            async with asyncio.timeout(DEADLINE_S):
                for _ in range(after_mib):
                    assert await process.stdout.readline()
            assert await store.sweep() == 0  # its writer lives
            process.send_signal(signal.SIGKILL)
            await process.wait()
        assert await read(store, KEY) == b"before"
        assert await keys(store) == [KEY]
        await store.sweep()
        assert await self.left_by_the_killed(store) == []
        assert await read(store, KEY) == b"before"

    async def test_a_store_that_cannot_be_used(self, broken: ObjectStore) -> None:
        for call in (
            lambda: broken.put("a", b"x"),
            lambda: broken.put("a", pieces(20)),
            lambda: read(broken, "a"),
            lambda: broken.stat("a"),
            lambda: broken.list(""),
            lambda: broken.remove("a"),
        ):
            with pytest.raises(Unavailable) as caught:
                await call()
            assert "not-to-be-seen" not in str(caught.value)

    async def left(self, store: ObjectStore) -> Sequence[str]:
        """What lies in the store beside objects."""
        raise NotImplementedError

    async def left_by_the_killed(self, store: ObjectStore) -> Sequence[str]:
        """The same, after the death of a writer and a sweep."""
        return await self.left(store)


@given(st.text())
def test_a_key_that_passes_stays_below(key: str) -> None:
    try:
        check_key(key)
    except InvalidInput:
        return
    assert not key.startswith("/")
    assert not {"", ".", ".."} & set(key.split("/"))
    assert len(key.encode()) <= 900
