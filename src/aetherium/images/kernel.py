"""Debian's kernel made quick to start: the ELF file out of the bzImage, and the few modules needed."""

from __future__ import annotations

import asyncio
import bz2
import ctypes
import gzip
import lzma
import re
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

from aetherium.domain.errors import ImageFailed
from aetherium.process import run

# Documentation/arch/x86/boot.rst of Linux: offsets in the header of a bzImage, protocol 2.08 and later.
_HEADER_MAGIC = 0x202
_SETUP_SECTORS = 0x1F1
_VERSION = 0x206
_PAYLOAD = 0x248
_LZ4_LEGACY = b"\x02\x21\x4c\x18"
_LZ4_BLOCK = 8 << 20
_ELF = b"\x7fELF"
# kernel/module_signing.c: what a signed module ends in, and before it a struct whose last word is a length.
_SIGNATURE_END = b"~Module signature appended~\n"
_SIGNATURE_INFO = struct.Struct(">8xI")


async def extract_vmlinux(bzimage: Path, target: Path) -> None:
    """Write the uncompressed ELF kernel of `bzimage`, which has a PVH entry, to `target`.

    A kernel that is not compressed starts about a second earlier where there is no KVM.
    Raises ImageFailed when `bzimage` is none or uses a compression unknown here.
    """
    data = await asyncio.to_thread(bzimage.read_bytes)
    if data[_HEADER_MAGIC : _HEADER_MAGIC + 4] != b"HdrS" or len(data) < _PAYLOAD + 8:
        raise ImageFailed(f"{bzimage.name} is not a Linux kernel in bzImage form.")
    if struct.unpack_from("<H", data, _VERSION)[0] < 0x208:
        raise ImageFailed(f"{bzimage.name} has a boot protocol older than 2.08.")
    start, length = struct.unpack_from("<II", data, _PAYLOAD)
    start += (data[_SETUP_SECTORS] + 1) * 512
    kernel = await _decompress(data[start : start + length])
    if not kernel.startswith(_ELF):
        raise ImageFailed(f"{bzimage.name} does not contain an ELF kernel.")
    await asyncio.to_thread(target.write_bytes, kernel)


async def _decompress(payload: bytes) -> bytes:
    # The kernel's build appends the uncompressed size, four bytes, which none of these formats expects.
    if payload.startswith(b"\xfd7zXZ\0"):
        return lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(payload)
    if payload.startswith(b"\x5d\0\0"):
        return lzma.LZMADecompressor(lzma.FORMAT_ALONE).decompress(payload)
    if payload.startswith(b"\x1f\x8b"):
        return gzip.decompress(payload)
    if payload.startswith(b"BZh"):
        return bz2.BZ2Decompressor().decompress(payload)
    if payload.startswith(_LZ4_LEGACY):
        return await asyncio.to_thread(_unlz4, payload[4:-4])
    if payload.startswith(b"\x28\xb5\x2f\xfd"):
        return (await run(["zstd", "-dcq"], stdin=payload[:-4])).stdout
    raise ImageFailed(f"The kernel is compressed in an unknown way (it begins with {payload[:4].hex()}).")


def _unlz4(blocks: bytes) -> bytes:
    """The legacy frame format of LZ4: blocks of at most 8 MiB, each after its length."""
    # Python has no LZ4; squashfs-tools, which every image needs, brings this library.
    decompress = ctypes.CDLL("liblz4.so.1").LZ4_decompress_safe
    output, done = ctypes.create_string_buffer(_LZ4_BLOCK), []
    at = 0
    while at + 4 <= len(blocks):
        (length,) = struct.unpack_from("<I", blocks, at)
        block = blocks[at + 4 : at + 4 + length]
        size = decompress(block, output, len(block), _LZ4_BLOCK)
        if size < 0:
            raise ImageFailed("The kernel's LZ4 data is damaged.")
        done.append(output.raw[:size])
        at += 4 + length
    return b"".join(done)


class Modules:
    """The modules of one kernel, as its package has them: ``lib/modules/VERSION`` under `root`."""

    def __init__(self, root: Path) -> None:
        versions = [path.name for path in (root / "lib" / "modules").iterdir()]
        if len(versions) != 1:
            raise ImageFailed(f"The kernel package holds modules of {len(versions)} kernels instead of one.")
        self.version = versions[0]
        base = root / "lib" / "modules" / self.version
        self._files = {
            _plain(path.name.split(".ko")[0]): path for path in base.rglob("*.ko*") if path.is_file()
        }
        builtin = (base / "modules.builtin").read_text()
        self._builtin = {_plain(Path(line).name.removesuffix(".ko")) for line in builtin.splitlines()}

    def closure(self, names: Iterable[str]) -> dict[str, bytes]:
        """The modules `names` and all that they need, in the order in which they can be inserted, without
        signatures; those that are part of the kernel are left out. Raises ImageFailed for unknown ones."""
        done: dict[str, bytes] = {}
        for name in names:
            self._add(_plain(name), done)
        return done

    def _add(self, name: str, done: dict[str, bytes]) -> None:
        if name in done or name in self._builtin:
            return
        if name not in self._files:
            raise ImageFailed(f"The kernel {self.version} has no module {name!r}.", module=name)
        data = unsigned(_read_module(self._files[name]))
        info = module_info(data)
        for needed in [*info.get("depends", "").split(","), *info.get("softdep pre", "").split()]:
            if needed and (_plain(needed) in self._files or needed in info.get("depends", "")):
                self._add(_plain(needed), done)
        done[name] = data


def _plain(name: str) -> str:
    return name.replace("-", "_")


def _read_module(path: Path) -> bytes:
    data = path.read_bytes()
    if path.suffix == ".xz":
        return lzma.decompress(data)
    if path.suffix == ".gz":
        return gzip.decompress(data)
    return data


def unsigned(module: bytes) -> bytes:
    """`module` without its signature: checking one costs some milliseconds where there is no KVM, and whoever
    could change the initramfs could change the kernel."""
    if not module.endswith(_SIGNATURE_END):
        return module
    end = len(module) - len(_SIGNATURE_END)
    (length,) = _SIGNATURE_INFO.unpack_from(module, end - _SIGNATURE_INFO.size)
    return module[: end - _SIGNATURE_INFO.size - length]


def module_info(module: bytes) -> Mapping[str, str]:
    """What a module says about itself (``depends``, ``vermagic``; ``softdep pre``)."""
    found: dict[str, str] = {}
    for key, value in re.findall(rb"\0(depends|softdep|vermagic)=([^\0]*)", module):
        text = value.decode()
        if key == b"softdep":
            match = re.match(r"pre: ([^:]*?)(?: post:.*)?$", text)
            if match:
                found["softdep pre"] = match[1]
        else:
            found[key.decode()] = text
    return found
