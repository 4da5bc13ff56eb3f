"""A directory of this host, as it is now.

In a git repository: tracked files and untracked ones that are not ignored, with a ``.git`` that holds the
real commit and nothing else of the original: no configuration, hooks, stashes or other branches. Elsewhere:
everything.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from aetherium.domain.errors import SourceFailed
from aetherium.domain.jobs import DirectorySource
from aetherium.process import Completed
from aetherium.sources.delivery import Delivery, files, repository_and, repository_archive
from aetherium.sources.git import GitLimits, Repository, environment, git, message

_NESTED = "{} is a git repository of its own and stays behind, as submodules do."


@dataclass(frozen=True, slots=True)
class _Checkout:
    """A git working tree of the user: its HEAD (empty: none yet) and where its objects are."""

    top: bool
    common: Path
    commit: str
    branch: str
    object_format: str
    shallow: bool


async def open_directory(source: DirectorySource, scratch: Path, limits: GitLimits) -> Delivery:
    """Raises SourceFailed and LimitExceeded."""
    directory = Path(source.path)
    if not await asyncio.to_thread(directory.is_dir):
        raise SourceFailed(f"{source.path!r} is no directory.", hint="Correct the path of the source.")
    found = await _checkout(directory, limits)
    if found is None:
        if not source.uncommitted:
            raise SourceFailed(f"{source.path!r} is in no git repository, so nothing in it is committed.")
        return Delivery("", False, files(directory, _everything(directory)))
    if not found.top or not found.commit:
        names, warnings = await _listed(directory, limits)
        return Delivery("", False, files(directory, names), warnings)
    repository = await _copy(found, source.depth, scratch, limits)
    if not source.uncommitted:
        pieces = repository_archive(repository, found.commit, branch=found.branch)
        return Delivery(found.commit, True, pieces)
    names, warnings = await _listed(directory, limits)
    await repository.check_out(found.commit, found.branch)
    await asyncio.to_thread(repository.configure, "")
    tree = repository_and(repository, files(directory, names))
    return Delivery(found.commit, False, tree, warnings)


async def _ask(directory: Path, limits: GitLimits, *words: str) -> Completed:
    """Ask the user's own repository. Such questions run nothing of what its configuration names, and the
    user's global configuration counts: it says what is ignored, and which directories are safe."""
    env = environment()
    del env["GIT_CONFIG_GLOBAL"]
    return await git(*words, cwd=directory, limits=limits, env=env)


async def _checkout(directory: Path, limits: GitLimits) -> _Checkout | None:
    questions = ("--show-prefix", "--git-common-dir", "--show-object-format", "--is-shallow-repository")
    done = await _ask(directory, limits, "rev-parse", "--path-format=absolute", *questions)
    if done.exit_code:
        said = message(done)
        if "not a git repository" in said or "must be run in a work tree" in said:
            return None
        hint = "It has to belong to the user that Aetherium runs as." if "dubious ownership" in said else ""
        raise SourceFailed(f"The git repository in {str(directory)!r} cannot be read: {said}.", hint=hint)
    prefix, common, object_format, shallow = os.fsdecode(done.stdout).split("\n")[:4]
    head = await _ask(directory, limits, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    branch = await _ask(directory, limits, "symbolic-ref", "--quiet", "HEAD")
    name = os.fsdecode(branch.stdout).strip().removeprefix("refs/heads/")
    return _Checkout(
        not prefix, Path(common), head.stdout.decode().strip(), name, object_format, shallow == "true"
    )


async def _copy(found: _Checkout, depth: int | None, scratch: Path, limits: GitLimits) -> Repository:
    """A fresh repository with the commit. The user's objects are read through one of ours, so that git never
    works under the original's configuration."""
    view = Repository(scratch / "view", limits)
    await view.create(found.object_format)
    await asyncio.to_thread(_share_objects, found, view.path)
    await view.run("update-ref", "refs/heads/source", found.commit)
    repository = Repository(scratch / "repository", limits)
    await repository.create(found.object_format)
    done = await repository.fetch(str(view.path), "+refs/heads/source:refs/heads/source", depth=depth)
    if done.exit_code:
        raise SourceFailed(
            f"The commit {found.commit} cannot be copied: {message(done)}.",
            hint="Is the repository complete? (git fsck)",
        )
    await repository.run("update-ref", "-d", "refs/heads/source")
    return repository


def _share_objects(found: _Checkout, view: Path) -> None:
    objects = str(found.common / "objects")
    if "\n" in objects:
        raise SourceFailed(f"The path {objects!r} has a line break in it.", hint="Rename the directory.")
    (view / "objects" / "info" / "alternates").write_bytes(os.fsencode(objects) + b"\n")
    if found.shallow:
        (view / "shallow").write_bytes((found.common / "shallow").read_bytes())


async def _listed(directory: Path, limits: GitLimits) -> tuple[Sequence[str], tuple[str, ...]]:
    """The files to take, with the directories above them, and what stays behind."""
    done = await _ask(directory, limits, "ls-files", "-z", "--cached", "--others", "--exclude-standard", ".")
    if done.exit_code:
        raise SourceFailed(f"The files in {str(directory)!r} cannot be listed: {message(done)}.")
    return await asyncio.to_thread(_with_parents, directory, done.stdout)


def _with_parents(directory: Path, listed: bytes) -> tuple[Sequence[str], tuple[str, ...]]:
    names: dict[str, None] = {}
    warnings: list[str] = []
    for name in dict.fromkeys(os.fsdecode(raw) for raw in listed.split(b"\0") if raw):
        path = directory / name
        try:
            nested = stat.S_ISDIR(path.lstat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            continue  # deleted, and not yet committed
        if nested and any(path.iterdir()):
            warnings.append(_NESTED.format(name.rstrip("/")))
        for parent in reversed(Path(name).parents[:-1]):
            names.setdefault(str(parent), None)
        names.setdefault(name.rstrip("/"), None)
    return list(names), tuple(warnings)


def _everything(directory: Path) -> Iterator[str]:
    """All names below `directory`, directories before what they hold; links are not followed."""
    pending = [""]
    while pending:
        inside = pending.pop()
        try:
            with os.scandir(directory / inside) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except FileNotFoundError:
            continue  # removed meanwhile
        except OSError as error:
            raise SourceFailed(
                f"{str(directory / inside)!r} cannot be read: {error.strerror}.",
                hint="It has to be readable for the user that Aetherium runs as.",
            ) from error
        for entry in entries:
            name = f"{inside}/{entry.name}" if inside else entry.name
            yield name
            if entry.is_dir(follow_symlinks=False):
                pending.append(name)
