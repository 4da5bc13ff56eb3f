"""Artifacts: files of the guest, brought into the job's directory with limits that the host enforces."""

from __future__ import annotations

import asyncio
import hashlib
import mimetypes
import os
import shutil
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

from aetherium.domain.errors import LimitExceeded
from aetherium.domain.guest import FileKind
from aetherium.domain.jobs import Artifact, ArtifactRule
from aetherium.interfaces.guest import Guest
from aetherium.sources.tarstream import BrokenArchive, Entry, TarStream
from aetherium.worker.jobs.collecting import Glob, matching

DIRECTORY = "artifacts"
MAX_FILES = 10_000
_LONGEST_NAME = 255
_DEEPEST = 64


class ArtifactBox:
    """The artifacts of one job.

    Args:
        directory: the job's; they go below ``artifacts/``.
        rule_limit: bytes of one rule's files that does not say otherwise.
        total_limit: bytes of all.
    """

    def __init__(self, directory: Path, rule_limit: int, total_limit: int) -> None:
        self._directory = directory
        self._rule_limit = rule_limit
        self._left = total_limit
        self._files_left = MAX_FILES
        self.warnings: list[str] = []

    async def take(self, guest: Guest, workdir: str, rule: ArtifactRule) -> list[Artifact]:
        """Bring what matches `rule`: all of it, or nothing.

        Raises LimitExceeded (size, number of files), BrokenArchive (the guest sends what no agent sends).
        """
        glob = Glob.of(workdir, rule.pattern)
        taking = _Taking(self._directory, rule, min(self._limit(rule), self._left), self._files_left)
        try:
            async with aclosing(matching(guest, glob)) as found:
                await taking.all(found, single=not glob.rest)
        except BaseException:
            await asyncio.to_thread(taking.remove)
            raise
        finally:
            self.warnings += taking.warnings
        self._left -= taking.size
        self._files_left -= len(taking.artifacts)
        return taking.artifacts

    def _limit(self, rule: ArtifactRule) -> int:
        return self._rule_limit if rule.max_bytes is None else min(rule.max_bytes, self._rule_limit)


class _Taking:
    """One rule's files on their way."""

    def __init__(self, directory: Path, rule: ArtifactRule, limit: int, files: int) -> None:
        self._directory = directory
        self._rule = rule
        self._limit = limit
        self._files = files
        self._target = directory / DIRECTORY / rule.name
        self._links: dict[str, Artifact] = {}
        self.size = 0
        self.artifacts: list[Artifact] = []
        self.warnings: list[str] = []

    async def all(self, found: AsyncGenerator[tuple[Entry, TarStream], None], *, single: bool) -> None:
        """Take every file. `single`: the rule names one path, which may be a file or a directory; a file then
        becomes the artifact itself."""
        await asyncio.to_thread(self._target.parent.mkdir, mode=0o700, parents=True, exist_ok=True)
        first = True
        async for entry, stream in found:
            if entry.kind is FileKind.FILE:
                alone = single and first and entry.name == self._rule.pattern.rstrip("/").rsplit("/", 1)[-1]
                await self._take(entry, stream, alone=alone)
            elif entry.kind is FileKind.SYMLINK:
                self._warn(f"{entry.name!r} is a link, which is not followed")
            elif entry.kind is FileKind.OTHER:
                self._warn(f"{entry.name!r} is no file")
            first = False

    async def _take(self, entry: Entry, stream: TarStream, *, alone: bool) -> None:
        name = host_name(entry.name)
        if name is None:
            self._warn(f"{entry.name!r} cannot be stored under that name")
            return
        if len(self.artifacts) >= self._files:
            raise LimitExceeded(
                f"The job has more than {MAX_FILES} artifact files.", hint="Pack them.", limit=MAX_FILES
            )
        path = self._target if alone else self._target / name
        size, digest = await self._write(path, entry, stream)
        artifact = Artifact(
            name=self._rule.name if alone else f"{self._rule.name}/{name}",
            path=str(path.relative_to(self._directory)),
            size_bytes=size,
            sha256=digest,
            media_type=mimetypes.guess_type(name)[0] or "application/octet-stream",
        )
        self._links[entry.name] = artifact
        self.artifacts.append(artifact)

    async def _write(self, path: Path, entry: Entry, stream: TarStream) -> tuple[int, str]:
        self._count(entry.size)
        try:
            if entry.hard_link:
                return await self._link(path, entry)
            return await _store(path, stream)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise BrokenArchive(f"The guest has sent {entry.name!r} twice, or as a directory too.") from error

    async def _link(self, path: Path, entry: Entry) -> tuple[int, str]:
        """A further name of a file that was sent before."""
        first = self._links.get(entry.target)
        if first is None:
            raise BrokenArchive(f"The guest has sent {entry.name!r} as a link to what it did not send.")
        self._count(first.size_bytes)
        await asyncio.to_thread(_hard_link, self._directory / first.path, path)
        return first.size_bytes, first.sha256

    def _count(self, size: int) -> None:
        self.size += size
        if self.size > self._limit:
            raise LimitExceeded(
                f"The artifact {self._rule.name!r} has more than {self._limit} bytes.",
                hint="See 'max-size' of the artifact, and the settings artifact_mib and artifacts_mib.",
                limit=self._limit,
            )

    def _warn(self, what: str) -> None:
        if len(self.warnings) < 10:
            self.warnings.append(f"The artifact {self._rule.name!r}: {what}.")

    def remove(self) -> None:
        """Take back what was written."""
        self._target.unlink(missing_ok=True) if self._target.is_file() else shutil.rmtree(
            self._target, ignore_errors=True
        )


def host_name(name: str) -> str | None:
    """The name under which a guest's file is stored: relative, without control characters and bytes that are
    no UTF-8 (percent-encoded). None if there is no such name."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if not parts or ".." in parts or len(parts) > _DEEPEST:
        return None
    encoded = ["".join(map(_character, part)) for part in parts]
    return "/".join(encoded) if all(len(part.encode()) <= _LONGEST_NAME for part in encoded) else None


def _character(character: str) -> str:
    code = ord(character)
    if code < 32 or code == 127:
        return f"%{code:02X}"
    if 0xD800 <= code <= 0xDFFF:
        return f"%{code & 0xFF:02X}"
    return character


async def _store(path: Path, stream: TarStream) -> tuple[int, str]:
    """Write a file's content to a new file; its size and SHA-256."""
    digest, size = hashlib.sha256(), 0
    fd = await asyncio.to_thread(_create, path)
    with os.fdopen(fd, "wb", buffering=0) as file:
        async for piece in stream.content():
            size += len(piece)
            digest.update(piece)
            await asyncio.to_thread(_write_all, file.fileno(), piece)
    return size, digest.hexdigest()


def _create(path: Path) -> int:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _hard_link(source: Path, target: Path) -> None:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    target.hardlink_to(source)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
