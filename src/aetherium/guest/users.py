"""Users and groups of the guest: /etc/passwd and /etc/group, read again whenever they have changed."""

import os
from errno import ENOENT
from time import time

from aetherium.guest.spawn import User

SETTLED_S = 1.0
_known: dict[str, tuple[tuple[int, ...], list[list[str]]]] = {}


def lookup(wanted: str | None) -> User:
    """The user of that name or uid, optionally with ``:group``; None: whoever the agent is.

    A uid without an entry is a user without a name, with / as home. Raises OSError (ENOENT) for an unknown
    name.
    """
    me = os.geteuid()
    if not wanted:
        entry = _find("/etc/passwd", str(me), 2)
        return _user(entry, None) if entry else User(home="/root" if me == 0 else "/")
    name, _, group = wanted.partition(":")
    entry = _find("/etc/passwd", name, 0) or _find("/etc/passwd", name, 2)
    if entry:
        user = _user(entry, int(entry[2]))
    elif name.isdigit():
        user = User(name, int(name), 0, [], "/")
    elif name == "root":  # images without user names have one all the same
        user = User(name, 0, 0, [], "/root" if os.path.isdir("/root") else "/")
    else:
        raise OSError(ENOENT, f"There is no user {name!r} in the guest")
    if group:
        user.gid, user.groups = _gid(group), []
    else:
        user.groups = _supplementary(user)
    if user.uid == me and not group:
        # No change, and so no need for a slow start (see spawn.py).
        user.uid = user.gid = user.groups = None
    elif me != 0:
        user.groups = None  # only root may set groups; the change of uid will be refused by the kernel
    return user


def _user(entry: list[str], uid: int | None) -> User:
    gid = None if uid is None else int(entry[3])
    return User(entry[0], uid, gid, None, entry[5] or "/", entry[6] or "/bin/sh")


def _gid(group: str) -> int:
    entry = _find("/etc/group", group, 0)
    if entry:
        return int(entry[2])
    if group.isdigit():
        return int(group)
    raise OSError(ENOENT, f"There is no group {group!r} in the guest")


def _supplementary(user: User) -> list[int]:
    groups = [user.gid or 0]
    for entry in _entries("/etc/group", 4):
        if user.name in entry[3].split(",") and int(entry[2]) not in groups:
            groups.append(int(entry[2]))
    return groups


def _find(path: str, value: str, field: int) -> list[str] | None:
    fields = 7 if path == "/etc/passwd" else 4
    return next((entry for entry in _entries(path, fields) if entry[field] == value), None)


def _entries(path: str, fields: int) -> list[list[str]]:
    try:
        stat = os.stat(path)
    except OSError:
        return []  # an image without user names: numbers still work
    version = (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    known = _known.get(path)
    if known is not None and known[0] == version:
        return known[1]
    entries = _parsed(path, fields)
    # What was changed just now could change again without a trace: the kernel's clock ticks in milliseconds.
    if time() - stat.st_ctime > SETTLED_S:
        _known[path] = (version, entries)
    return entries


def _parsed(path: str, fields: int) -> list[list[str]]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = [line.rstrip("\n").split(":") for line in file]
    except OSError:
        return []
    numbers = (2, 3) if fields == 7 else (2,)
    return [line for line in lines if len(line) >= fields and all(line[index].isdigit() for index in numbers)]
