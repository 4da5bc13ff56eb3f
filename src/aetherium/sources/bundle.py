"""A git bundle, with uncommitted changes as a patch."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from aetherium.domain.errors import SourceFailed
from aetherium.domain.jobs import BundleSource
from aetherium.sources.delivery import Delivery, repository_archive
from aetherium.sources.git import GitLimits, Repository, message


async def open_bundle(source: BundleSource, scratch: Path, limits: GitLimits) -> Delivery:
    """Raises SourceFailed (no bundle, no such ref, a patch that does not apply) and LimitExceeded."""
    for path in filter(None, (source.path, source.patch)):
        if not await asyncio.to_thread(os.path.isfile, path):
            raise SourceFailed(f"{path!r} is no file.", hint="Correct the path of the source.")
    repository = Repository(scratch / "repository", limits)
    await repository.create()
    heads = await _heads(repository, source)
    name = _choose(source, heads)
    done = await repository.fetch(source.path, f"+{name}:refs/heads/source", depth=None)
    commit = None if done.exit_code else await repository.commit("refs/heads/source")
    if commit is None:
        raise SourceFailed(
            f"The bundle {source.path!r} cannot be read: {message(done)}.",
            hint="It has to hold all of its history: git bundle create FILE HEAD main",
        )
    await repository.run("update-ref", "-d", "refs/heads/source")
    tree = await _patched(repository, commit, Path(source.patch)) if source.patch else commit
    branch = name.removeprefix("refs/heads/") if name.startswith("refs/heads/") else ""
    pieces = repository_archive(repository, commit, branch=branch, tree=tree)
    return Delivery(commit, not source.patch, pieces)


async def _heads(repository: Repository, source: BundleSource) -> list[str]:
    done = await repository.try_run("bundle", "list-heads", source.path)
    if done.exit_code:
        raise SourceFailed(
            f"{source.path!r} is no git bundle: {message(done)}.",
            hint="Make one: git bundle create FILE HEAD main",
        )
    return [line.partition(" ")[2] for line in os.fsdecode(done.stdout).splitlines()]


def _choose(source: BundleSource, heads: list[str]) -> str:
    if source.ref:
        wanted = [f"refs/heads/{source.ref}", f"refs/tags/{source.ref}", source.ref]
    else:
        branches = [head for head in heads if head.startswith("refs/heads/")]
        wanted = branches if len(branches) == 1 else ["HEAD"]
    for name in wanted:
        if name in heads:
            return name
    raise SourceFailed(
        f"The bundle {source.path!r} has no {source.ref or 'HEAD'!r}.",
        hint=f"It has: {', '.join(heads[:10])}. Name one with 'ref'.",
    )


async def _patched(repository: Repository, commit: str, patch: Path) -> str:
    """The tree of the commit with the patch applied, in an index of its own: no file is written."""
    index = "patched.index"
    await repository.run("read-tree", commit, index=index)
    done = await repository.try_run("apply", "--cached", "--binary", "--", str(patch), index=index)
    if done.exit_code:
        raise SourceFailed(
            f"The patch {str(patch)!r} does not apply to {commit[:12]}: {message(done)}.",
            hint="Make it with: git diff --binary HEAD",
        )
    return await repository.run("write-tree", index=index)
