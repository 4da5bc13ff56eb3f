"""Processes on this host, told apart by pid and start time: a pid alone may have been given to another."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

_PROC = Path("/proc")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# Fields of /proc/PID/stat (proc(5)) after the command's name, counted from its closing parenthesis.
_STATE, _PARENT, _UTIME, _STIME, _START = 0, 1, 11, 12, 19


def _stat(pid: int) -> list[str] | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text[text.rindex(")") + 2 :].split()


def start_time(pid: int) -> int | None:
    """When the process began, in clock ticks since boot; None if there is none or it is a zombie."""
    fields = _stat(pid)
    if fields is None or fields[_STATE] in "ZX":
        return None
    return int(fields[_START])


def alive(pid: int, started: int) -> bool:
    """Whether the process that began at `started` (as `start_time` gives it) still runs."""
    return start_time(pid) == started


def stopped(pid: int) -> bool:
    """Whether a signal has stopped it."""
    fields = _stat(pid)
    return fields is not None and fields[_STATE] == "T"


def descendants(pid: int) -> list[int]:
    """All that it has started and that were not given to another parent since, nearest first."""
    children: dict[int, list[int]] = {}
    for entry in os.scandir(_PROC):
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[_PARENT]), []).append(int(entry.name))
    found = list(children.get(pid, ()))
    for one in found:  # grows while it is walked
        found += children.get(one, ())
    return found


def cpu_s(pid: int) -> float:
    """Seconds of CPU it has used; 0 if it is gone."""
    fields = _stat(pid)
    return (int(fields[_UTIME]) + int(fields[_STIME])) / _TICKS_PER_S if fields else 0.0


def pss_bytes(pid: int) -> int:
    """Proportional set size; 0 if it is gone."""
    try:
        for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 0


def find(directory: Path, exe_prefix: str) -> list[int]:
    """Pids of all processes of that program whose working directory is, or was, `directory`."""
    wanted = str(directory)
    found = []
    for entry in os.scandir(_PROC):
        if not entry.name.isdigit():
            continue
        try:
            process = Path(entry.path)
            cwd = str((process / "cwd").readlink()).removesuffix(" (deleted)")
            if cwd == wanted and (process / "exe").readlink().name.startswith(exe_prefix):
                found.append(int(entry.name))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it has ended, or belongs to another user and is none of ours
    return found


async def wait_end(pid: int, started: int, timeout_s: float | None) -> bool:
    """Whether the process ended within `timeout_s`. It need not be a child of this one."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    try:
        if not alive(pid, started):
            return True
        loop.add_reader(fd, ended.set)
        try:
            async with asyncio.timeout(timeout_s):
                await ended.wait()
        except TimeoutError:
            return False
        finally:
            loop.remove_reader(fd)
    finally:
        os.close(fd)
    return True
