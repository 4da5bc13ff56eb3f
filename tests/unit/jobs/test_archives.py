"""Sources that are archives."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

from aetherium.domain.errors import LimitExceeded, SourceFailed
from aetherium.domain.jobs import ArchiveSource
from aetherium.sources.opening import open_source
from tests.unit.jobs.trees import content, unpack, write

FILES = {"top/a.txt": b"one", "top/sub/b": bytes(range(256)) * 40}


async def deliver(path: Path, strip: int = 0, limit: int = 1 << 24) -> dict[bytes, tuple[str, bytes]]:
    delivery = await open_source(ArchiveSource(str(path), strip), path.parent, limit)
    assert delivery.commit == ""
    target = path.parent / "guest"
    await unpack(delivery.pieces, target)
    return content(target)


def tar(path: Path, mode: Literal["w", "w:gz"], *entries: tuple[str, dict[str, object]]) -> Path:
    with tarfile.open(path, mode) as archive:
        for name, fields in entries:
            info = tarfile.TarInfo(name)
            for key, value in fields.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(bytes(info.size)))
    return path


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
async def test_tar(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    write(tmp_path / "tree", FILES)
    (tmp_path / "tree" / "top" / "a.txt").chmod(0o755)
    (tmp_path / "tree" / "top" / "link").symlink_to("a.txt")
    (tmp_path / "tree" / "top" / "same").hardlink_to(tmp_path / "tree" / "top" / "sub" / "b")
    with tarfile.open(tmp_path / "plain", "w") as archive:
        archive.add(tmp_path / "tree", ".")
    (tmp_path / "x").write_bytes(pack((tmp_path / "plain").read_bytes()))
    assert await deliver(tmp_path / "x") == content(tmp_path / "tree")


async def test_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in FILES.items():
            archive.writestr(name, data)
        program = zipfile.ZipInfo("top/run")
        program.external_attr = (stat.S_IFREG | 0o755) << 16
        archive.writestr(program, b"#!")
        link = zipfile.ZipInfo("top/link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, b"a.txt")
    found = await deliver(tmp_path / "x", strip=1)
    assert found == {
        b"a.txt": ("file", b"one"),
        b"sub/b": ("file", FILES["top/sub/b"]),
        b"run": ("program", b"#!"),
        b"link": ("link", b"a.txt"),
    }


async def test_strip(tmp_path: Path) -> None:
    path = tar(tmp_path / "x", "w", ("top", {"type": tarfile.DIRTYPE}), ("top/a", {}), ("alone", {}))
    assert await deliver(path, strip=1) == {b"a": ("file", b"")}


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (("../a", {}), "leads out"),
        (("a/../../b", {}), "leads out"),
        (("/etc/passwd", {}), "absolute"),
        (("dev", {"type": tarfile.CHRTYPE}), "device"),
        (("dev", {"type": tarfile.BLKTYPE}), "device"),
        (("pipe", {"type": tarfile.FIFOTYPE}), "pipe"),
        (("hard", {"type": tarfile.LNKTYPE, "linkname": "../../etc/passwd"}), "leads out"),
        (("hard", {"type": tarfile.LNKTYPE, "linkname": "/etc/passwd"}), "absolute"),
    ],
)
async def test_hostile_entries(tmp_path: Path, entry: tuple[str, dict[str, object]], words: str) -> None:
    with pytest.raises(SourceFailed, match=words):
        await deliver(tar(tmp_path / "x", "w", entry))


async def test_hostile_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x", "w") as archive:
        archive.writestr("../a", b"x")
    with pytest.raises(SourceFailed, match="leads out"):
        await deliver(tmp_path / "x")


async def test_bombs(tmp_path: Path) -> None:
    path = tar(tmp_path / "x", "w:gz", ("zeros", {"size": 1 << 26}))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(LimitExceeded):
        await deliver(path)


async def test_bombs_in_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(1 << 26))
    with pytest.raises(LimitExceeded):
        await deliver(tmp_path / "x")


@pytest.mark.parametrize(
    "magic", [b"", b"\x1f\x8b", b"BZh9", b"\xfd7zXZ\0", b"PK\x03\x04", b"\x28\xb5\x2f\xfd"]
)
async def test_damage(tmp_path: Path, magic: bytes) -> None:
    (tmp_path / "x").write_bytes(magic + b"nonsense" * 100)
    with pytest.raises(SourceFailed):
        await deliver(tmp_path / "x")


async def test_a_cut_archive(tmp_path: Path) -> None:
    path = tar(tmp_path / "x", "w:gz", ("a", {"size": 1 << 20}))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(SourceFailed):
        await deliver(path)


async def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SourceFailed, match="cannot be read"):
        await deliver(tmp_path / "nothing")
