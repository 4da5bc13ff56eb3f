"""A bare QEMU around an image's files: what the images themselves promise, without a driver."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aetherium.channel import Connector
from aetherium.channel.guest import ChannelGuest
from aetherium.domain.guest import UnixEndpoint
from aetherium.domain.images import ImagePaths
from aetherium.drivers.qemu.tsc import tsc_khz
from aetherium.process import run, spawned

BOOT_S = 90.0


async def argv_for(
    paths: ImagePaths, work: Path, *, drives: tuple[str, ...] = ("root", "agent", "scratch"), extra: str = ""
) -> list[str]:
    """The command line of QEMU; makes the scratch drive and needs an empty directory `work`."""
    files = {"root": paths.rootfs, "agent": paths.agent_drive, "scratch": work / "scratch"}
    with files["scratch"].open("wb") as file:
        file.truncate(256 << 20)
    await run(["mkfs.ext4", "-q", "-O", "^has_journal", "-m0", str(files["scratch"])])
    argv = [
        "qemu-system-x86_64", "-M", "microvm", "-accel", "tcg", "-cpu", "max", "-m", "256", "-nodefaults",
        "-no-user-config", "-no-reboot", "-display", "none", "-serial", f"file:{work}/console",
        "-kernel", str(paths.kernel), "-initrd", str(paths.initrd),
        "-append", f"{paths.cmdline} tsc_early_khz={await tsc_khz()} {extra}",
        "-device", "virtio-serial-device",
        "-chardev", f"socket,id=a,path={work}/agent.sock,server=on,wait=off",
        "-device", "virtserialport,chardev=a,name=org.aetherium.agent.0",
    ]  # fmt: skip
    for name in drives:
        flags = "" if name == "scratch" else ",read-only=on"
        argv += [
            "-drive", f"if=none,id={name},file={files[name]},format=raw{flags}",
            "-device", f"virtio-blk-device,drive={name},serial={name}",
        ]  # fmt: skip
    return argv


@asynccontextmanager
async def booted(paths: ImagePaths, work: Path) -> AsyncIterator[ChannelGuest]:
    """A guest that answers."""
    async with spawned(await argv_for(paths, work)):
        endpoint = UnixEndpoint(str(work / "agent.sock"), exclusive=True)
        guest = await Connector().connect([endpoint], timeout_s=BOOT_S)
        try:
            yield guest
        finally:
            await guest.close()


async def boots_to_end(argv: list[str], work: Path) -> str:
    """Run a VM that ends by itself; returns its console's text."""
    await run(argv, timeout_s=BOOT_S)
    return (work / "console").read_text(errors="replace")
