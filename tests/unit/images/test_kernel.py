"""The kernel and its modules, taken apart."""

from __future__ import annotations

import gzip
import lzma
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherium.domain.errors import ImageFailed
from aetherium.images.kernel import Modules, extract_vmlinux, module_info, unsigned

ELF = b"\x7fELF" + bytes(range(256)) * 64


def bzimage(payload: bytes, *, version: int = 0x20F) -> bytes:
    setup = bytearray(1024)
    setup[0x1F1] = 1
    setup[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", setup, 0x206, version)
    struct.pack_into("<II", setup, 0x248, 16, len(payload))
    return bytes(setup) + bytes(16) + payload


def lz4_legacy(data: bytes) -> bytes:
    """One block of literals alone: token, length bytes, the data (LZ4 block format)."""
    rest = len(data) - 15
    block = b"\xf0" + b"\xff" * (rest // 255) + bytes([rest % 255]) + data
    return b"\x02\x21\x4c\x18" + struct.pack("<I", len(block)) + block + struct.pack("<I", len(data))


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, lz4_legacy])
async def test_every_compression(tmp_path: Path, pack: object) -> None:
    assert callable(pack)
    size = b"" if pack is lz4_legacy else struct.pack("<I", len(ELF))
    if pack is gzip.compress:
        size = b""  # its trailer ends in the size already
    (tmp_path / "bz").write_bytes(bzimage(pack(ELF) + size))
    await extract_vmlinux(tmp_path / "bz", tmp_path / "vmlinux")
    assert (tmp_path / "vmlinux").read_bytes() == ELF


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (b"", "not a Linux kernel"),
        (b"x" * 4096, "not a Linux kernel"),
        (bzimage(b"", version=0x207), "older than"),
        (bzimage(b"unknown data"), "unknown way"),
        (bzimage(gzip.compress(b"no elf")), "does not contain"),
    ],
)
async def test_what_is_no_kernel(tmp_path: Path, image: bytes, words: str) -> None:
    (tmp_path / "bz").write_bytes(image)
    with pytest.raises(ImageFailed, match=words):
        await extract_vmlinux(tmp_path / "bz", tmp_path / "vmlinux")


def _module(body: bytes, depends: str = "") -> bytes:
    return body + b"\0depends=" + depends.encode() + b"\0vermagic=6.1\0"


@given(body=st.binary(max_size=200), signature=st.binary(min_size=1, max_size=300))
def test_signatures_are_taken_off(body: bytes, signature: bytes) -> None:
    module = _module(body)
    signed = module + signature + struct.pack(">8xI", len(signature)) + b"~Module signature appended~\n"
    assert unsigned(signed) == module
    assert unsigned(module) == module


def test_modules_come_in_the_order_of_insertion(tmp_path: Path) -> None:
    base = tmp_path / "lib/modules/6.1.0"
    (base / "kernel").mkdir(parents=True)
    (base / "modules.builtin").write_text("kernel/built-in.ko\n")
    (base / "kernel/top.ko").write_bytes(_module(b"t", "middle,low-part,built_in"))
    (base / "kernel/middle.ko.xz").write_bytes(lzma.compress(_module(b"m", "low_part")))
    (base / "kernel/low-part.ko").write_bytes(_module(b"l"))
    modules = Modules(tmp_path)
    assert modules.version == "6.1.0"
    assert [*modules.closure(["top", "built-in"])] == ["low_part", "middle", "top"]
    with pytest.raises(ImageFailed, match="no module 'none'"):
        modules.closure(["none"])


def test_module_info() -> None:
    module = b"\0softdep=pre: crc32c other\0depends=a,b\0"
    assert module_info(module) == {"softdep pre": "crc32c other", "depends": "a,b"}
