"""What a source gives to the VM."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from aetherium.domain.guest import FileKind
from aetherium.sources.git import Repository
from aetherium.sources.tarstream import END, file_entry, header, in_thread


@dataclass(frozen=True, slots=True)
class Delivery:
    """A tree, ready to be sent.

    Args:
        commit: that HEAD of its repository is; empty: it has none.
        clean: the files are exactly those of the commit.
        pieces: one tar stream, with ``.git`` where there is a commit; to be read once.
        warnings: what stays behind, and why.
    """

    commit: str
    clean: bool
    pieces: AsyncGenerator[bytes, None]
    warnings: tuple[str, ...] = ()


async def repository_and(
    repository: Repository, tree: AsyncGenerator[bytes, None]
) -> AsyncGenerator[bytes, None]:
    """``.git``, and then the files of a tar stream."""
    async with aclosing(tree):
        async for piece in in_thread(_git_directory(repository)):
            yield piece
        async for piece in tree:
            yield piece


async def repository_archive(
    repository: Repository, commit: str, *, origin: str = "", branch: str = "", tree: str = ""
) -> AsyncGenerator[bytes, None]:
    """A repository at a commit, with the files of that commit or of another `tree`."""
    await repository.check_out(commit, branch)
    await asyncio.to_thread(repository.configure, origin)
    async with aclosing(repository_and(repository, repository.archive(tree or commit))) as pieces:
        async for piece in pieces:
            yield piece


async def files(directory: Path, names: Iterable[str]) -> AsyncGenerator[bytes, None]:
    """Those files and directories below `directory`, and the end of the archive."""

    def produce() -> Iterator[bytes]:
        for name in names:
            yield from file_entry(directory / name, name)
        yield END

    async with aclosing(in_thread(produce())) as pieces:
        async for piece in pieces:
            yield piece


def _git_directory(repository: Repository) -> Iterator[bytes]:
    yield header(".git", FileKind.DIRECTORY, mode=0o755)
    for name in repository.names():
        yield from file_entry(repository.path / name, f".git/{name}")
