"""Killing all that an execution started where there is no control group to do it."""

import os

SIGKILL = 9
ROUNDS = 10  # a process may fork while the list is read; each round leaves fewer


def kill_session(leader: int, *, reaped: bool) -> None:
    """SIGKILL the process group and session that `leader` made, and their descendants."""
    if not reaped:
        _kill(-leader)
    for _ in range(ROUNDS):
        found = _members(leader)
        if not found:
            return
        for pid in found:
            _kill(pid)


def _members(leader: int) -> list[int]:
    """Living processes of the session `leader`, and all below them, whatever session they made."""
    parents: dict[int, int] = {}
    members = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            fields = _fields(int(name))
            if fields and fields[0] != "Z":
                parents[int(name)] = int(fields[1])
                if int(fields[3]) == leader or int(name) == leader:
                    members.add(int(name))
    grown = True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in members} - members
        members |= more
        grown = bool(more)
    return sorted(members)


def _fields(pid: int) -> list[str]:
    """State, parent, group, session … of a process (proc(5), /proc/pid/stat); empty when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return []


def _kill(pid: int) -> None:
    try:
        os.kill(pid, SIGKILL)
    except ProcessLookupError:
        return
