"""Debian's dockerd on a private socket and data directory, with an image of the same root file system."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aetherium.domain.errors import Unavailable
from aetherium.process import run, spawned

START_S = 60.0


class Docker:
    """The docker command against our own daemon."""

    def __init__(self, socket: Path) -> None:
        self._host = f"unix://{socket}"

    async def __call__(self, *arguments: str, timeout_s: float = 120.0) -> str:
        done = await run(["docker", "--host", self._host, *arguments], timeout_s=timeout_s)
        return done.stdout.decode().strip()


@asynccontextmanager
async def dockerd() -> AsyncIterator[Docker]:
    """Start a daemon that ends with the block and leaves nothing. Needs root.

    It makes no bridge and no firewall rules: containers run with ``--network none``.
    """
    if os.geteuid() != 0:
        raise Unavailable("dockerd needs root.", hint="Run the benchmarks as root to compare with Docker.")
    home = Path(tempfile.mkdtemp(prefix="aetherium-bench-docker-"))
    socket = home / "docker.sock"
    argv = ["dockerd", "--host", f"unix://{socket}", "--data-root", str(home / "data")]
    argv += ["--exec-root", str(home / "exec"), "--pidfile", str(home / "pid")]
    argv += ["--bridge=none", "--iptables=false", "--ip6tables=false", "--storage-driver=overlay2"]
    log = home / "log"
    try:
        with log.open("wb") as output:
            async with spawned(argv, stdout=output, stderr=output) as process:
                try:
                    await _ready(socket, process, log)
                    yield Docker(socket)
                finally:
                    if process.returncode is None:
                        process.terminate()  # it ends its containerd itself
                        async with asyncio.timeout(30):
                            await process.wait()
    finally:
        shutil.rmtree(home)


async def _ready(socket: Path, process: asyncio.subprocess.Process, log: Path) -> None:
    probe = ["docker", "--host", f"unix://{socket}", "info"]
    deadline = time.monotonic() + START_S
    while process.returncode is None and time.monotonic() < deadline:
        if (await run(probe, check=False)).exit_code == 0:
            return
        await asyncio.sleep(0.1)
    text = await asyncio.to_thread(log.read_text)
    raise Unavailable(f"dockerd did not start: {text[-500:]}")


async def import_rootfs(docker: Docker, rootfs: Path, tag: str) -> None:
    """A Docker image of the files in a squashfs."""
    with tempfile.TemporaryDirectory(prefix="aetherium-bench-rootfs-") as name:
        tree, archive = Path(name) / "root", Path(name) / "root.tar"
        await run(["unsquashfs", "-q", "-no-progress", "-d", str(tree), str(rootfs)], timeout_s=300)
        await run(["tar", "-C", str(tree), "-cf", str(archive), "."], timeout_s=300)
        await docker("import", str(archive), tag, timeout_s=300)
