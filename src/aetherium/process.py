"""The one place that starts processes on the host. Always an argv list, never a shell."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from aetherium.domain.errors import AetheriumError, DeadlineExceeded, ToolMissing

_PACKAGES = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "mksquashfs": "squashfs-tools",
    "mkfs.ext4": "e2fsprogs",
    "mkfs.erofs": "erofs-utils",
    "dpkg": "dpkg",
    "apt-get": "apt",
    "unshare": "util-linux",
    "newuidmap": "uidmap",
    "busybox": "busybox-static",
}


class ProcessFailed(AetheriumError):
    """A host program exited with an error; ``details`` has ``argv0``, ``exit_code`` and ``stderr``."""

    code = "process_failed"


@dataclass(frozen=True, slots=True)
class Completed:
    """A finished process: exit code and captured output."""

    exit_code: int
    stdout: bytes
    stderr: bytes


def find_tool(name: str) -> str:
    """The path of a host program. Raises ToolMissing with the Debian package that brings it."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/local/sbin")
    if path is None:
        raise ToolMissing(name, _PACKAGES.get(name, name))
    return path


async def run(
    argv: Sequence[str],
    *,
    stdin: bytes | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout_s: float | None = 60.0,
    check: bool = True,
) -> Completed:
    """Run a program to its end and capture its output.

    The process is in a session of its own and is killed with all its children on timeout and on cancellation.

    Raises:
        ToolMissing: there is no such program.
        DeadlineExceeded: it ran longer than `timeout_s`.
        ProcessFailed: it exited with an error and `check` is set.
    """
    async with spawned(
        argv,
        stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
        env=env,
    ) as process:
        try:
            async with asyncio.timeout(timeout_s):
                stdout, stderr = await process.communicate(stdin)
        except TimeoutError:
            raise DeadlineExceeded(
                f"{argv[0]} did not finish within {timeout_s} seconds.", argv0=argv[0]
            ) from None
    result = Completed(process.returncode or 0, stdout, stderr)
    if check and result.exit_code != 0:
        text = stderr.decode(errors="replace").strip()
        last = text.splitlines()[-1] if text else "no message"
        raise ProcessFailed(
            f"{argv[0]} failed with exit code {result.exit_code}: {last}",
            argv0=argv[0],
            exit_code=result.exit_code,
            stderr=text[-4000:],
        )
    return result


@asynccontextmanager
async def spawned(
    argv: Sequence[str],
    *,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    stdout: int | IO[bytes] = subprocess.DEVNULL,
    stderr: int | IO[bytes] = subprocess.DEVNULL,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that does not outlive the block: its whole session is killed on the way out."""
    process = await asyncio.create_subprocess_exec(
        find_tool(argv[0]),
        *argv[1:],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        cwd=cwd,
        env=env,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            kill_group(process.pid)
            await asyncio.shield(process.wait())


def kill_group(pid: int, sig: signal.Signals = signal.SIGKILL) -> None:
    """Signal the process group that `pid` leads, if it still exists."""
    try:
        os.killpg(pid, sig)
    except ProcessLookupError:
        return


async def daemon(
    argv: Sequence[str],
    *,
    cwd: Path,
    log: Path,
    pass_fds: Sequence[int] = (),
    env: Mapping[str, str] | None = None,
) -> int:
    """Start a process that outlives this one, in a session of its own; returns its pid.

    Its stdout and stderr are appended to `log`. Whoever starts it records pid and start time and has to end
    it; as long as this process lives, asyncio's child watcher reaps it.
    """
    with _appending(log) as output:
        process = await asyncio.create_subprocess_exec(
            find_tool(argv[0]),
            *argv[1:],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=cwd,
            env=env,
            pass_fds=pass_fds,
            start_new_session=True,
        )
    return process.pid


def _appending(log: Path) -> IO[bytes]:
    """Opened here and not in a thread: a cancelled wait for that would leave the file open."""
    return log.open("ab")
