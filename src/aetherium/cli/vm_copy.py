"""``aetherium vm cp``."""

from __future__ import annotations

import asyncio
import posixpath
import stat as modes
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from aetherium.cli.options import Json
from aetherium.cli.runtime import Command, execute
from aetherium.client import saving
from aetherium.domain.errors import GuestError, InvalidInput, NotFound

_PIECE = 256 * 1024


def register(app: typer.Typer) -> None:
    """Add the command to the group."""
    app.command(
        "cp",
        epilog="Examples:\n\naetherium vm cp ./data box:/workspace/\naetherium vm cp box:/var/log/ logs\n"
        "echo hi | aetherium vm cp - box:/tmp/hi\naetherium vm cp box:/etc/hosts -",
    )(cp)


@dataclass(frozen=True, slots=True)
class Place:
    """One side of a copy: `vm` is empty for this host."""

    vm: str
    path: str

    @classmethod
    def parse(cls, text: str) -> Place:
        """``VM:PATH``, a path of this host, or ``-``. A path with a colon is written ``./a:b``."""
        vm, colon, path = text.partition(":")
        if not colon or "/" in vm or vm in ("", ".", ".."):
            return cls("", text)
        if not path:
            raise InvalidInput(f"{text!r} has no path.", hint=f"Write {vm}:/path.", field="path")
        return cls(vm, path)


def cp(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="VM:PATH, a path here, or -.")],
    target: Annotated[str, typer.Argument(metavar="TARGET", help="VM:PATH, a path here, or -.")],
    user: Annotated[
        str | None, typer.Option("--user", "-u", metavar="NAME", help="Owner of what is copied in.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Copy files and directories into a VM and out of it.

    A directory is copied into the target if that is there, else as the target, as with cp -r. - is stdin or
    stdout: a file's bytes, or a tar stream of a directory.
    """

    async def work(command: Command) -> None:
        come, go = Place.parse(source), Place.parse(target)
        if bool(come.vm) == bool(go.vm):
            raise InvalidInput(
                "Neither side is in a VM." if not come.vm else "Both sides are in VMs.",
                hint="Write one side as VM:PATH, for example box:/tmp/file.",
            )
        counter = _Counter()
        if go.vm:
            what = "stdin" if come.path == "-" else come.path
            with command.output.progress(f"Copying {what} to {target}") as update:
                counter.update = update
                await _into(command, come.path, go, user, counter)
        elif go.path == "-":
            await _to_stdout(command, come, counter)
        else:
            with command.output.progress(f"Copying {source} to {go.path}") as update:
                counter.update = update
                await _out_of(command, come, Path(go.path), counter)
        if command.output.as_json and go.path != "-":
            command.output.json({"source": source, "target": target, "bytes": counter.count})

    execute(ctx, work, as_json=as_json)


class _Counter:
    """Counts what passes, and tells it at most every few MiB."""

    _EVERY = 4 << 20

    def __init__(self) -> None:
        self.count = 0
        self.update: Callable[[str, float | None], None] = lambda _step, _fraction: None
        self._told = 0

    async def through(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The same pieces, counted."""
        from aetherium.cli.formats import size

        interactive = sys.stderr.isatty()
        async for piece in pieces:
            self.count += len(piece)
            if interactive and self.count - self._told >= self._EVERY:
                self._told = self.count
                self.update(f"{size(self.count)} copied", None)
            yield piece


async def _into(command: Command, source: str, target: Place, user: str | None, counter: _Counter) -> None:
    from aetherium.cli import terminal

    files = command.client.files
    if source == "-":
        await files.write(target.vm, target.path, counter.through(terminal.keys()), user=user)
        return
    path = Path(source)
    try:
        facts = await asyncio.to_thread(path.stat)
    except OSError as error:
        raise InvalidInput(f"{source!r} cannot be read: {error.strerror}.", field="source") from error
    inside = await _is_directory(command, target) or target.path.endswith("/")
    name = await asyncio.to_thread(lambda: path.absolute().name) or "root"
    if modes.S_ISDIR(facts.st_mode):
        from aetherium.client.archives import pack

        place = posixpath.join(target.path, name) if inside and not source.endswith("/.") else target.path
        await files.mkdir(target.vm, place, user=user)
        await files.archive_in(target.vm, place, counter.through(pack(path)), user=user)
        return
    place = posixpath.join(target.path, name) if inside else target.path
    mode = modes.S_IMODE(facts.st_mode)
    await files.write(target.vm, place, counter.through(_pieces(path)), mode=mode, user=user)


async def _is_directory(command: Command, place: Place) -> bool:
    """Whether the guest's path is a directory, or a link to one."""
    from aetherium.domain.guest import FileKind

    try:
        found = await command.client.files.stat(place.vm, place.path)
        if found.kind is FileKind.SYMLINK:
            found = await command.client.files.stat(place.vm, place.path.rstrip("/") + "/.")
    except (GuestError, NotFound) as error:
        if isinstance(error, GuestError) and error.details.get("errno") in ("ENOENT", "ENOTDIR"):
            return False
        raise
    return found.kind is FileKind.DIRECTORY


async def _out_of(command: Command, source: Place, target: Path, counter: _Counter) -> None:
    from aetherium.client.archives import unpack

    files = command.client.files
    name = posixpath.basename(posixpath.normpath(source.path))
    place = target / name if await asyncio.to_thread(target.is_dir) else target
    if await _is_directory(command, source):
        await unpack(counter.through(files.archive_out(source.vm, source.path)), place)
        return
    facts = await files.stat(source.vm, source.path)
    pieces = counter.through(files.read(source.vm, source.path))
    await saving.save(pieces, place, mode=facts.mode & 0o777, field="target")


async def _to_stdout(command: Command, source: Place, counter: _Counter) -> None:
    from aetherium.cli import terminal

    files = command.client.files
    if await _is_directory(command, source):
        if sys.stdout.isatty():
            raise InvalidInput(
                f"{source.path!r} is a directory: a tar stream does not belong on a terminal.",
                hint="Redirect it: > file.tar, or | tar x.",
            )
        pieces = files.archive_out(source.vm, source.path)
    else:
        pieces = files.read(source.vm, source.path)
    async for piece in counter.through(pieces):
        await terminal.write(sys.stdout.fileno(), piece)


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    with await asyncio.to_thread(path.open, "rb") as file:
        while piece := await asyncio.to_thread(file.read, _PIECE):
            yield piece
