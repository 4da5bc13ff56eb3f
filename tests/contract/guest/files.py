"""Files and directories, and changes below them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from aetherium.channel import ChannelGuest
from aetherium.domain.guest import FileEvent, FileKind
from tests.contract.guest.base import DEADLINE_S, Connect, ContractBase, refused, run, sh

DATA = bytes(range(256)) * 3000


async def contents(guest: ChannelGuest, path: str, *, offset: int = 0, length: int | None = None) -> bytes:
    """A file, or a range of it, as a whole."""
    return b"".join([piece async for piece in guest.read(path, offset=offset, length=length)])


class FileContract(ContractBase):
    async def test_write_and_read(self, guest: ChannelGuest, workdir: str) -> None:
        for data in (b"", b"x", DATA):
            written = await guest.write(f"{workdir}/a/b/file", data)
            assert (written.size, written.kind, written.mode) == (len(data), FileKind.FILE, 0o644)
            assert await contents(guest, f"{workdir}/a/b/file") == data

    async def test_ranges(self, guest: ChannelGuest, workdir: str) -> None:
        path = f"{workdir}/file"
        await guest.write(path, DATA)
        assert await contents(guest, path, offset=1000, length=5) == DATA[1000:1005]
        assert await contents(guest, path, offset=700_000) == DATA[700_000:]
        assert await contents(guest, path, offset=len(DATA) + 1) == b""
        assert await contents(guest, path, length=0) == b""
        await guest.write(path, b"PATCH", offset=10)
        expected = DATA[:10] + b"PATCH" + DATA[15:]
        assert await contents(guest, path) == expected
        await guest.write(path, b"tail", offset=len(DATA) + 3)
        assert await contents(guest, path) == expected + bytes(3) + b"tail"
        with refused("EINVAL"):
            await contents(guest, path, offset=-1)

    async def test_mode_and_owner(self, guest: ChannelGuest, workdir: str) -> None:
        path = f"{workdir}/file"
        written = await guest.write(path, b"1", mode=0o4750, user="nobody")
        assert (written.mode, written.uid) == (0o4750, 65534)
        again = await guest.write(path, b"2")
        assert (again.mode, again.uid) == (0o4750, 65534), "a new content changes neither mode nor owner"
        await guest.chmod(path, 0o600)
        assert (await guest.stat(path)).mode == 0o600

    async def test_replacement_is_atomic(self, connect: Connect, guest: ChannelGuest, workdir: str) -> None:
        path, other = f"{workdir}/file", await connect()
        await guest.write(path, b"old")
        half, go_on = asyncio.Event(), asyncio.Event()

        async def slowly() -> AsyncIterator[bytes]:
            yield DATA
            half.set()
            await go_on.wait()
            yield DATA

        async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as group:
            group.create_task(guest.write(path, slowly()))
            await half.wait()
            assert await contents(other, path) == b"old"
            go_on.set()
        assert await contents(other, path) == DATA * 2
        assert [each.path for each in await guest.list(workdir)] == [path]

    async def test_upload_that_breaks_off_leaves_nothing(self, guest: ChannelGuest, workdir: str) -> None:
        async def broken() -> AsyncIterator[bytes]:
            yield DATA
            raise RuntimeError("the source broke")

        with pytest.raises(RuntimeError, match="the source broke"):
            await guest.write(f"{workdir}/file", broken())
        await guest.ping()
        assert await guest.list(workdir) == []

    async def test_list(self, guest: ChannelGuest, workdir: str) -> None:
        script = (
            "i=0; while [ $i -lt 3000 ]; do : > $i; i=$((i+1)); done; ln -s target link; mkfifo pipe; mkdir d"
        )
        result, _, _ = await run(guest, sh(script, cwd=workdir))
        assert result.ok
        found = {each.path.removeprefix(f"{workdir}/"): each for each in await guest.list(workdir)}
        assert len(found) == 3003
        assert (found["link"].kind, found["link"].target) == (FileKind.SYMLINK, "target")
        assert (found["pipe"].kind, found["d"].kind) == (FileKind.OTHER, FileKind.DIRECTORY)
        assert found["2999"].kind is FileKind.FILE

    async def test_names_that_are_no_text(self, guest: ChannelGuest, workdir: str) -> None:
        name = f"{workdir}/" + b"\xff\xfe ".decode("utf-8", "surrogateescape") + "ü\n"
        await guest.write(name, b"x")
        assert [each.path for each in await guest.list(workdir)] == [name]
        assert await contents(guest, name) == b"x"

    async def test_directories(self, guest: ChannelGuest, workdir: str) -> None:
        await guest.mkdir(f"{workdir}/a/b/c", mode=0o700)
        assert (await guest.stat(f"{workdir}/a/b/c")).mode == 0o700
        await guest.mkdir(f"{workdir}/a/b/c")
        with refused("EEXIST"):
            await guest.mkdir(f"{workdir}/a", parents=False)
        with refused("ENOENT"):
            await guest.mkdir(f"{workdir}/x/y", parents=False)
        with refused("ENOTEMPTY"):
            await guest.remove(f"{workdir}/a")
        await guest.move(f"{workdir}/a", f"{workdir}/z")
        assert [each.path for each in await guest.list(workdir)] == [f"{workdir}/z"]

    async def test_remove(self, guest: ChannelGuest, workdir: str) -> None:
        script = "mkdir -p keep t/1/2/3; for i in 1 2 3; do : > t/1/2/3/$i; done; ln -s ../../keep t/1/link"
        await run(guest, sh(script, cwd=workdir))
        await guest.write(f"{workdir}/keep/file", b"x")
        await guest.remove(f"{workdir}/t", recursive=True)
        await guest.remove(f"{workdir}/keep/file")
        assert [each.path for each in await guest.list(workdir)] == [f"{workdir}/keep"]
        with refused("EINVAL"):
            await guest.remove("//", recursive=True)

    async def test_refusals(self, guest: ChannelGuest, workdir: str) -> None:
        missing = f"{workdir}/missing"
        for call in (
            guest.stat(missing),
            guest.list(missing),
            guest.remove(missing),
            contents(guest, missing),
        ):
            with refused("ENOENT"):
                await call
        for call in (guest.stat("relative"), guest.write(f"{workdir}/\0", b"")):
            with refused("EINVAL"):
                await call
        with refused("EISDIR"):
            await contents(guest, workdir)
        with refused("EISDIR"):
            await guest.write(workdir, b"")
        await guest.write(f"{workdir}/file", b"")
        with refused("ENOTDIR"):
            await guest.list(f"{workdir}/file")
        await run(guest, sh("mkfifo pipe", cwd=workdir))
        with refused("EINVAL"):
            await contents(guest, f"{workdir}/pipe")

    async def test_files_of_the_kernel(self, guest: ChannelGuest) -> None:
        assert b"MemTotal" in await contents(guest, "/proc/meminfo")
        assert await contents(guest, "/dev/zero", length=200_000) == bytes(200_000)


class WatchContract(ContractBase):
    async def test_changes_are_told(self, guest: ChannelGuest, workdir: str) -> None:
        await guest.mkdir(f"{workdir}/old/deep")
        async with asyncio.timeout(DEADLINE_S), guest.watch(workdir) as events:
            await run(guest, sh("echo x > old/deep/file; rm old/deep/file", cwd=workdir))
            await _expect(
                events,
                ("created", "old/deep/file"),
                ("modified", "old/deep/file"),
                ("removed", "old/deep/file"),
                at=workdir,
            )
            await run(guest, sh("mkdir -p new/a/b/c; echo x > new/a/b/c/file", cwd=workdir))
            await _expect(events, ("created", "new"), ("created", "new/a/b/c/file"), at=workdir)
            await run(guest, sh("mv new/a moved; echo y > moved/b/c/again", cwd=workdir))
            await _expect(
                events, ("moved", "new/a"), ("moved", "moved"), ("created", "moved/b/c/again"), at=workdir
            )

    async def test_many_changes(self, guest: ChannelGuest, workdir: str) -> None:
        async with asyncio.timeout(DEADLINE_S), guest.watch(workdir) as events:
            script = "i=0; while [ $i -lt 2000 ]; do : > $i; i=$((i+1)); done; : > last"
            await run(guest, sh(script, cwd=workdir))
            created = set()
            async for event in events:
                created.add(event.path)
                if event.path.endswith("/last"):
                    break
        assert len(created) == 2001

    async def test_missing_directory(self, guest: ChannelGuest, workdir: str) -> None:
        with refused("ENOENT"):
            async with guest.watch(f"{workdir}/missing"):
                raise AssertionError("watching what does not exist")


async def _expect(events: AsyncIterator[FileEvent], *wanted: tuple[str, str], at: str) -> None:
    """Wait until these came, in this order; others may come between."""
    left = [FileEvent(kind, f"{at}/{name}") for kind, name in wanted]
    async for event in events:
        if event == left[0]:
            left.pop(0)
            if not left:
                return
