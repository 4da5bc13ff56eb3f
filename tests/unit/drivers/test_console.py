"""The console's log."""

from __future__ import annotations

import os
from pathlib import Path

from aetherium.drivers.qemu import console


def test_is_cut_while_it_is_being_written(tmp_path: Path) -> None:
    total = b""
    with (tmp_path / console.LOG).open("ab", buffering=0) as writer:
        for number in range(50):
            text = b"%06d\n" % number * 3000
            writer.write(text)
            total += text
            console.rotate(tmp_path)
            assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 2 * console.KEEP_BYTES
    assert console.tail(tmp_path, 1000) == total[-1000:]
    assert console.tail(tmp_path, console.KEEP_BYTES) == total[-console.KEEP_BYTES :]
    assert console.tail(tmp_path, 0) == b""


def test_there_may_be_none(tmp_path: Path) -> None:
    assert console.tail(tmp_path / "gone", 10) == b""
    assert console.panic(tmp_path) == ""


def test_finds_the_last_panic(tmp_path: Path) -> None:
    (tmp_path / console.LOG).write_bytes(
        b"[ 1.0] Kernel panic - not syncing: first\r\n[ 2.0] Kernel panic - not syncing: Attempted \xff!\r\n"
    )
    assert console.panic(tmp_path) == "Attempted \N{REPLACEMENT CHARACTER}!"


def test_follows_no_link_and_waits_for_no_pipe(tmp_path: Path) -> None:
    """A guest that has broken out of QEMU may write to the directory."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret" * console.KEEP_BYTES)
    home = tmp_path / "home"
    home.mkdir()
    (home / console.LOG).symlink_to(secret)
    assert console.tail(home, 100) == b""
    assert secret.stat().st_size == 6 * console.KEEP_BYTES
    (home / console.LOG).unlink()
    os.mkfifo(home / console.LOG)
    assert console.tail(home, 100) == b""
