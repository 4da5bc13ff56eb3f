"""Values as people read them, and files from guests that nobody trusts."""

from __future__ import annotations

import io
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherium.cli import formats
from aetherium.cli.jobs import below
from aetherium.client.archives import pack, unpack
from aetherium.client.saving import save
from aetherium.domain.errors import InvalidInput, ProtocolViolation


def test_sizes_and_durations() -> None:
    assert [formats.size(n) for n in (0, 1023, 1536, 20 << 20, 3 << 30)] == [
        "0B",
        "1023B",
        "1.5K",
        "20M",
        "3.0G",
    ]
    assert [formats.duration(s) for s in (0.42, 12, 200, 7500, 273600)] == [
        "0.4s",
        "12s",
        "3m 20s",
        "2h 5m",
        "3d 4h",
    ]


@given(st.text())
def test_text_from_a_guest_cannot_drive_the_terminal(text: str) -> None:
    assert "\x1b" not in formats.safe(text)
    assert "\r" not in formats.safe(text)


def test_artifacts_stay_below_their_directory(tmp_path: Path) -> None:
    assert below(tmp_path, "a/b") == tmp_path / "a" / "b"
    for wrong in ("../x", "/etc/passwd", "a/../../x", ""):
        with pytest.raises(ProtocolViolation):
            below(tmp_path, wrong)


async def _one(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def test_a_link_that_lies_there_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine", encoding="utf-8")
    (tmp_path / "link").symlink_to(tmp_path / "precious")
    await save(_one(b"theirs"), tmp_path / "link")
    assert (tmp_path / "precious").read_text(encoding="utf-8") == "mine"
    assert (tmp_path / "link").read_bytes() == b"theirs"
    with pytest.raises(InvalidInput, match="precious"):
        await save(_one(b""), tmp_path / "precious" / "x")


async def test_directories_go_through_and_hostile_archives_do_not(tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "file").write_bytes(b"x" * 1_000_000)
    (tmp_path / "in" / "link").symlink_to("deep/file")
    await unpack(pack(tmp_path / "in"), tmp_path / "out")
    assert (tmp_path / "out" / "link").read_bytes() == b"x" * 1_000_000

    for name, link in (("../evil", ""), ("/tmp/evil", ""), ("l", "/etc")):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            entry = tarfile.TarInfo(name)
            if link:
                entry.type, entry.linkname = tarfile.SYMTYPE, link
            archive.addfile(entry)
        place = tmp_path / "hostile"
        try:
            await unpack(_one(buffer.getvalue()), place)
        except ProtocolViolation:
            continue
        assert name == "/tmp/evil"  # its leading slash is dropped
        assert (place / "tmp" / "evil").exists()
    assert not (tmp_path / "evil").exists()


async def test_a_broken_archive_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ProtocolViolation):
        await unpack(_one(b"nonsense" * 1000), tmp_path / "out")
