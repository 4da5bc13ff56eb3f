"""The initramfs, as cpio(1) reads it."""

from __future__ import annotations

from pathlib import Path

from aetherium.images.initramfs import init_script, make_initramfs
from aetherium.process import run


async def test_cpio_reads_it(tmp_path: Path) -> None:
    archive = make_initramfs(
        b"busybox", "6.1.0", {"one": b"first", "two": b"odd"}, {"drives": ("one", "two")}
    )
    listing = (await run(["cpio", "-t", "--quiet"], stdin=archive)).stdout.decode().splitlines()
    assert {"init", "bin/busybox", "dev/console", "nodes/fd", "lib/modules/6.1.0/one.ko"} <= set(listing)
    wanted = ["init", "bin/busybox", "etc/modules.drives", "lib/modules/6.1.0/*"]
    await run(["cpio", "-id", "--quiet", *wanted], stdin=archive, cwd=tmp_path)
    assert (tmp_path / "init").read_bytes() == init_script()
    assert (tmp_path / "init").stat().st_mode & 0o111
    assert (tmp_path / "etc/modules.drives").read_text() == "one two\n"
    assert (tmp_path / "lib/modules/6.1.0/two.ko").read_bytes() == b"odd"
    assert (tmp_path / "lib/modules/6.1.0/modules.dep").read_text() == "one.ko:\ntwo.ko:\n"


def test_the_same_content_gives_the_same_bytes() -> None:
    made = [make_initramfs(b"b", "6.1.0", {"m": b"x"}, {"drives": ("m",)}) for _ in range(2)]
    assert made[0] == made[1]


async def test_the_script_is_a_shell_script(tmp_path: Path) -> None:
    (tmp_path / "init").write_bytes(init_script())
    await run(["sh", "-n", str(tmp_path / "init")])
