"""Tar streams in and out."""

from __future__ import annotations

import io
import tarfile
from collections.abc import AsyncIterator

import pytest

from aetherium.channel import ChannelGuest
from tests.contract.guest.base import ContractBase, refused, run, sh
from tests.contract.guest.files import contents

BIG = bytes(range(256)) * 20_000


def entry(name: str, kind: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    """A tar header."""
    info = tarfile.TarInfo(name)
    info.type = kind
    info.mtime = 1_500_000_000
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def archive(*entries: tuple[tarfile.TarInfo, bytes], mode: str = "w") -> bytes:
    """A tar archive of these."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as tar:  # type: ignore[call-overload]  # the mode is a parameter
        for info, data in entries:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return file.getvalue()


async def pieces(data: bytes, size: int = 50_000) -> AsyncIterator[bytes]:
    """`data` as a stream."""
    for at in range(0, len(data), size):
        yield data[at : at + size]


async def packed(guest: ChannelGuest, path: str, **patterns: list[str]) -> dict[str, tarfile.TarInfo]:
    """The headers of an archive of `path`, by name."""
    data = b"".join([piece async for piece in guest.archive_out(path, **patterns)])
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {info.name: info for info in tar.getmembers()}


class ArchiveContract(ContractBase):
    @pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
    async def test_in(self, guest: ChannelGuest, workdir: str, mode: str) -> None:
        data = archive(
            (entry("d", tarfile.DIRTYPE, mode=0o500), b""),
            (entry("d/file", mode=0o640), BIG),
            (entry("./d/link", tarfile.SYMTYPE, linkname="/etc/passwd"), b""),
            (entry("hard", tarfile.LNKTYPE, linkname="d/file"), b""),
            mode=mode,
        )
        await guest.archive_in(f"{workdir}/new", pieces(data), user="nobody")
        assert await contents(guest, f"{workdir}/new/d/file") == BIG
        assert await contents(guest, f"{workdir}/new/hard") == BIG
        directory, link = await guest.stat(f"{workdir}/new/d"), await guest.stat(f"{workdir}/new/d/link")
        file = await guest.stat(f"{workdir}/new/d/file")
        assert (directory.mode, directory.uid, directory.mtime_ns) == (0o500, 65534, 1_500_000_000 * 10**9)
        assert (link.target, link.uid) == ("/etc/passwd", 65534)
        assert (file.mode, file.uid, file.mtime_ns) == (0o640, 65534, 1_500_000_000 * 10**9)

    async def test_round_trip(self, guest: ChannelGuest, workdir: str) -> None:
        script = """
            mkdir -p src/sub/empty; cd src; i=0
            while [ $i -lt 300 ]; do echo $i > sub/$i; i=$((i+1)); done
            ln -s sub/1 link; ln sub/1 hard; mkfifo pipe; chmod 4711 sub/2; : > 'ä b'
        """
        await run(guest, sh(script, cwd=workdir))
        await guest.write(f"{workdir}/src/big", BIG)
        await guest.archive_in(f"{workdir}/copy", guest.archive_out(f"{workdir}/src"))
        await run(
            guest, sh("cd src && find . | sort > ../a; cd ../copy && find . | sort > ../b", cwd=workdir)
        )
        assert await contents(guest, f"{workdir}/a") == await contents(guest, f"{workdir}/b")
        assert await contents(guest, f"{workdir}/copy/big") == BIG
        assert (await guest.stat(f"{workdir}/copy/sub/2")).mode == 0o4711
        assert (await guest.stat(f"{workdir}/copy/link")).target == "sub/1"

    async def test_patterns(self, guest: ChannelGuest, workdir: str) -> None:
        script = "mkdir -p a/b .git/x node; : > a/1.py; : > a/b/2.py; : > a/b/3.txt; : > .git/x/y; : > top.py"
        await run(guest, sh(script, cwd=workdir))
        assert set(await packed(guest, workdir, include=["*.py"])) == {"a/1.py", "a/b/2.py", "top.py"}
        assert set(await packed(guest, workdir, include=["a/*.py"])) == {"a/1.py"}
        assert set(await packed(guest, workdir, include=["a/**/*.py"])) == {"a/1.py", "a/b/2.py"}
        everything = await packed(guest, workdir, exclude=[".git", "*.txt"])
        assert set(everything) == {"a", "a/1.py", "a/b", "a/b/2.py", "node", "top.py"}

    async def test_single_file(self, guest: ChannelGuest, workdir: str) -> None:
        await guest.write(f"{workdir}/file", BIG)
        found = await packed(guest, f"{workdir}/file")
        assert [(name, info.size) for name, info in found.items()] == [("file", len(BIG))]

    @pytest.mark.parametrize(
        "hostile",
        [
            [entry("../escaped")],
            [entry("/escaped")],
            [entry("a/../../escaped")],
            [entry("l", tarfile.SYMTYPE, linkname=".."), entry("l/escaped")],
            [entry("l", tarfile.SYMTYPE, linkname="/tmp"), entry("l/escaped")],
            [entry("h", tarfile.LNKTYPE, linkname="../secret")],
            [entry("l", tarfile.SYMTYPE, linkname=".."), entry("h", tarfile.LNKTYPE, linkname="l/secret")],
            [entry("dev", tarfile.CHRTYPE)],
        ],
        ids=lambda entries: "-".join(each.name for each in entries),
    )
    async def test_hostile_entries(
        self, guest: ChannelGuest, workdir: str, hostile: list[tarfile.TarInfo]
    ) -> None:
        await guest.write(f"{workdir}/secret", b"secret")
        with refused("EPERM"):
            await guest.archive_in(f"{workdir}/in", pieces(archive(*((each, b"") for each in hostile))))
        names = {each.path for each in await guest.list(workdir)}
        assert names == {f"{workdir}/secret", f"{workdir}/in"}
        with refused("ENOENT"):
            await guest.stat("/tmp/escaped")

    async def test_what_is_no_archive(self, guest: ChannelGuest, workdir: str) -> None:
        with refused("EINVAL"):
            await guest.archive_in(workdir, pieces(BIG))
        cut = archive((entry("file"), BIG))[:100_000]
        with refused("EINVAL"):
            await guest.archive_in(workdir, pieces(cut))

    async def test_missing(self, guest: ChannelGuest, workdir: str) -> None:
        with refused("ENOENT"):
            await packed(guest, f"{workdir}/missing")
        with refused("ENOENT"):
            await guest.archive_in(workdir, pieces(archive()), user="no-such-user")
