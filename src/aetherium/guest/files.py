"""Requests about the names of files: stat, list, make, move, remove. Long work is done in steps."""

import os
import stat as modes
from errno import EEXIST, EINVAL, ENOENT

from aetherium.guest.agent import Agent
from aetherium.guest.batches import Batches
from aetherium.guest.connection import Handler, Stream
from aetherium.guest.spawn import User

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

# Entries handled in one step of long work: a few milliseconds.
STEP = 64


def path_of(params: "dict[str, Any]", key: str = "path") -> str:
    """An absolute path from `params`. Raises OSError (EINVAL)."""
    path = params[key]
    if type(path) is not str or not path.startswith("/") or "\0" in path:
        raise OSError(EINVAL, f"{path!r} is no absolute path")
    return path


def owner_of(params: "dict[str, Any]") -> User | None:
    """Who is to own what is made; None: the agent."""
    if params["user"] is None:
        return None
    if type(params["user"]) is not str:
        raise TypeError("user")
    from aetherium.guest.users import lookup

    user = lookup(params["user"])
    return user if user.uid is not None else None


def describe(path: str) -> "dict[str, Any]":
    """One entry, not followed if it is a symbolic link. Raises OSError."""
    found = os.lstat(path)
    link = modes.S_ISLNK(found.st_mode)
    return {
        "path": path,
        "kind": _kind(found.st_mode),
        "size": found.st_size,
        "mode": modes.S_IMODE(found.st_mode),
        "uid": found.st_uid,
        "gid": found.st_gid,
        "mtime_ns": found.st_mtime_ns,
        "target": os.readlink(path) if link else "",
    }


def _kind(mode: int) -> str:
    if modes.S_ISREG(mode):
        return "file"
    if modes.S_ISDIR(mode):
        return "directory"
    return "symlink" if modes.S_ISLNK(mode) else "other"


def make_directories(path: str, mode: int, owner: User | None) -> None:
    """Make `path` and what is missing above it. Raises OSError (EEXIST when it is something else)."""
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path.rstrip("/"))
    if parent and not os.path.isdir(parent):
        make_directories(parent, 0o755, owner)
    try:
        os.mkdir(path)
    except FileExistsError:
        if not os.path.isdir(path):
            raise
        return
    os.chmod(path, mode)
    if owner is not None:
        os.chown(path, owner.uid or 0, owner.gid or 0)


def stat(_agent: Agent, stream: Stream, params: "dict[str, Any]") -> None:
    """file.stat"""
    stream.respond(describe(path_of(params)))


def list_directory(_agent: Agent, stream: Stream, params: "dict[str, Any]") -> None:
    """file.list"""
    path = path_of(params)
    names = os.listdir(path)
    names.sort()
    stream.answer(Batches(_entries(path, names)))
    stream.wake()


def _entries(path: str, names: list[str]) -> "Iterator[dict[str, Any]]":
    for name in names:
        try:
            yield describe(os.path.join(path, name))
        except FileNotFoundError:
            continue  # removed since the directory was read


def mkdir(_agent: Agent, stream: Stream, params: "dict[str, Any]") -> None:
    """file.mkdir"""
    path = path_of(params)
    if not params["parents"] and os.path.lexists(path):
        raise OSError(EEXIST, os.strerror(EEXIST), path)
    if not params["parents"] and not os.path.isdir(os.path.dirname(path.rstrip("/")) or "/"):
        raise OSError(ENOENT, os.strerror(ENOENT), path)
    make_directories(path, int(params["mode"]) & 0o7777, owner_of(params))
    stream.respond({})


def move(_agent: Agent, stream: Stream, params: "dict[str, Any]") -> None:
    """file.move"""
    os.rename(path_of(params, "source"), path_of(params, "target"))
    stream.respond({})


def chmod(_agent: Agent, stream: Stream, params: "dict[str, Any]") -> None:
    """file.chmod"""
    os.chmod(path_of(params), int(params["mode"]) & 0o7777)
    stream.respond({})


def remove(agent: Agent, stream: Stream, params: "dict[str, Any]") -> None:
    """file.remove"""
    path = path_of(params)
    if os.path.isdir(path) and not os.path.islink(path):
        if params["recursive"]:
            if os.path.realpath(path) == "/":
                raise OSError(EINVAL, "the root directory cannot be removed")
            stream.answer(Handler())
            agent.loop.job(_remove_tree(stream, path))
            return
        os.rmdir(path)
    else:
        os.unlink(path)
    stream.respond({})


def _remove_tree(stream: Stream, top: str) -> "Iterator[None]":
    """Depth first without recursion, a step at a time; stops when the stream is given up."""
    pending = [top]
    count = 0
    try:
        while pending and stream.open:
            path = pending[-1]
            subdirectories = []
            with os.scandir(path) as entries:
                for entry in entries:
                    count += 1
                    if entry.is_dir(follow_symlinks=False):
                        subdirectories.append(entry.path)
                    else:
                        os.unlink(entry.path)
                    if count % STEP == 0:
                        yield
            if subdirectories:
                pending += subdirectories
            else:
                pending.pop()
                os.rmdir(path)
    except OSError as error:
        stream.fail(error)
    stream.respond({})
