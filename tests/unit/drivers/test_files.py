"""Sparse copies, and memory written to files."""

from __future__ import annotations

import mmap
import os
from ctypes import addressof, c_char
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from aetherium.drivers.qemu.files import allocated, copy_sparse, extents
from aetherium.drivers.qemu.memory import PAGE, dump

MIB = 1 << 20


def test_copies_data_and_holes(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    with source.open("wb") as file:
        file.seek(3 * MIB)
        file.write(b"x" * 10)
        file.truncate(64 * MIB)
    copy_sparse(source, target)
    assert target.read_bytes() == source.read_bytes()
    assert allocated(target) < MIB
    assert target.stat().st_mode & 0o777 == 0o600


def test_an_empty_file_has_no_extents(tmp_path: Path) -> None:
    with (tmp_path / "empty").open("wb+") as file:
        file.truncate(MIB)
        assert list(extents(file.fileno())) == []
    assert allocated(tmp_path / "nothing") == 0


@settings(deadline=None)
@given(writes=st.lists(st.tuples(st.integers(0, 600), st.integers(1, 300), st.integers(0, 255)), max_size=8))
def test_dumps_anonymous_memory(writes: list[tuple[int, int, int]]) -> None:
    """What is zero becomes a hole, whether the page was touched or not."""
    size = 1024 * PAGE
    target = Path(f"/tmp/aetherium-dump-{os.getpid()}")
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        for page, count, value in writes:
            memory[page * PAGE : page * PAGE + count] = bytes([value]) * count
        holder = c_char.from_buffer(memory)
        address = addressof(holder)
        try:
            dump(os.getpid(), address, size, None, target)
            assert target.read_bytes() == memory[:]
            assert allocated(target) <= len(writes) * 2 * PAGE + PAGE
        finally:
            target.unlink(missing_ok=True)
            del holder


@settings(deadline=None)
@given(writes=st.lists(st.tuples(st.integers(0, 600), st.integers(1, 300), st.integers(0, 255)), max_size=8))
def test_dumps_what_was_changed_in_a_mapped_file(writes: list[tuple[int, int, int]]) -> None:
    """Zeros that were written over data are kept, and the file that is mapped does not change."""
    size = 1024 * PAGE
    base, target = (Path(f"/tmp/aetherium-{name}-{os.getpid()}") for name in ("base", "fork"))
    content = bytes(range(1, 251)) * (size // 250 + 1)
    base.write_bytes(content[:size])
    with base.open("rb") as file, mmap.mmap(file.fileno(), size, access=mmap.ACCESS_COPY) as memory:
        assert memory[5] == content[5]  # touched, not changed
        for page, count, value in writes:
            memory[page * PAGE : page * PAGE + count] = bytes([value]) * count
        holder = c_char.from_buffer(memory)
        address = addressof(holder)
        try:
            dump(os.getpid(), address, size, base, target)
            assert target.read_bytes() == memory[:]
            assert base.read_bytes() == content[:size]
        finally:
            target.unlink(missing_ok=True)
            base.unlink()
            del holder
