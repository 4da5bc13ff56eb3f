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
    it. As long as the running event loop lives, it is reaped when it ends.
    """
    pid = _detached([find_tool("env"), f"--chdir={cwd}", find_tool(argv[0]), *argv[1:]], log, pass_fds, env)
    _reap(pid)
    return pid


def _detached(argv: list[str], log: Path, pass_fds: Sequence[int], env: Mapping[str, str] | None) -> int:
    """Start a process in a session of its own, in about a millisecond; its pid.

    The processes of asyncio and subprocess complain when they outlive the object that stands for them.
    """
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        return os.posix_spawn(
            argv[0],
            argv,
            os.environ if env is None else env,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, output, 1),
                (os.POSIX_SPAWN_DUP2, output, 2),
                *((os.POSIX_SPAWN_DUP2, fd, fd) for fd in pass_fds),  # to itself: it stays open
            ],
            setsid=True,
        )
    finally:
        os.close(output)


def _reap(pid: int) -> None:
    """Take the exit code of a child when it ends, so that it does not stay as a zombie."""
    loop = asyncio.get_running_loop()
    pidfd = os.pidfd_open(pid)

    def ended() -> None:
        loop.remove_reader(pidfd)
        os.close(pidfd)
        os.waitpid(pid, 0)

    loop.add_reader(pidfd, ended)
