"""Repositories and trees for the tests of jobs."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

from aetherium.guest.unpacking import unpack_archive
from aetherium.process import run

IDENTITY = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_AUTHOR_NAME": "Somebody",
    "GIT_AUTHOR_EMAIL": "somebody@example.org",
    "GIT_COMMITTER_NAME": "Somebody",
    "GIT_COMMITTER_EMAIL": "somebody@example.org",
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "LC_ALL": "C",
}


async def git(directory: Path, *words: str) -> str:
    """Run git there, and fail with what it says."""
    done = await run(["git", "-c", "init.defaultBranch=main", *words], cwd=directory, env=IDENTITY)
    return done.stdout.decode(errors="surrogateescape").strip()


def write(directory: Path, files: dict[str, bytes]) -> None:
    """Write files, with the directories above them."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


async def repository(directory: Path, files: dict[str, bytes]) -> str:
    """A repository with one commit of those files; its id."""
    write(directory, {})
    await git(directory, "init", "-q")
    return await commit(directory, files)


async def commit(directory: Path, files: dict[str, bytes], message: str = "change") -> str:
    """Write the files and commit everything; the commit's id."""
    write(directory, files)
    await git(directory, "add", "-A")
    await git(directory, "commit", "-q", "--allow-empty", "-m", message)
    return await git(directory, "rev-parse", "HEAD")


async def unpack(pieces: AsyncIterator[bytes], target: Path) -> None:
    """What the guest's agent does with a delivery."""
    archive = target.with_name(target.name + ".tar")
    with archive.open("wb") as file:
        async for piece in pieces:
            file.write(piece)
    with archive.open("rb") as file:
        unpack_archive(str(target), file.fileno(), None)
    archive.unlink()


def content(directory: Path) -> dict[bytes, tuple[str, bytes]]:
    """All files and links below, without ``.git``: name to mode and content."""
    found: dict[bytes, tuple[str, bytes]] = {}
    for path in directory.rglob("*"):
        name = path.relative_to(directory)
        if name.parts[0] == ".git":
            continue
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            found[os.fsencode(name)] = ("link", os.fsencode(path.readlink()))
        elif stat.S_ISREG(mode):
            found[os.fsencode(name)] = ("program" if mode & 0o100 else "file", path.read_bytes())
    return found
