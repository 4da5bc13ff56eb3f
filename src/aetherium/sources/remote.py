"""A git repository by its address: a branch, a tag, or any commit."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from aetherium.domain.errors import SourceFailed
from aetherium.domain.jobs import GitSource
from aetherium.process import Completed
from aetherium.sources.delivery import Delivery, repository_archive
from aetherium.sources.git import GitLimits, Repository, check_url, is_commit, message
from aetherium.sources.guarding import Route, guarded

_SHORTEST_PREFIX = 4


async def open_remote(
    source: GitSource, scratch: Path, limits: GitLimits, networks: Sequence[str] = ()
) -> Delivery:
    """Fetch what `source` names into `scratch`.

    Args:
        networks: from which one that is guarded is fetched too.

    Raises InvalidInput (the address), SourceFailed (unreachable, refused, no such ref), LimitExceeded.
    """
    check_url(source.url)
    route = await guarded(source.url, networks) if source.guarded else Route(source.url)
    there = replace(source, url=route.url)
    looker = Repository(scratch / "look", limits, route.options)
    heads = await _advertised(looker, there)
    repository = Repository(scratch / "repository", limits, route.options)
    await repository.create("sha256" if any(len(commit) == 64 for commit in heads.values()) else "sha1")
    commit, branch = await _fetch(repository, there, heads)
    pieces = repository_archive(repository, commit, origin=source.url, branch=branch)
    return Delivery(commit, True, pieces)


async def _advertised(looker: Repository, source: GitSource) -> dict[str, str]:
    """What the remote says of the ref: names to commits, and HEAD's branch under ``HEAD@``."""
    await looker.create()
    patterns = ["HEAD"]
    if source.ref:
        patterns = [f"refs/heads/{source.ref}", f"refs/tags/{source.ref}", source.ref]
    done = await looker.try_run("ls-remote", "--quiet", "--symref", "--", source.url, "HEAD", *patterns)
    if done.exit_code:
        raise _failed(source, done)
    found: dict[str, str] = {}
    for line in done.stdout.decode(errors="surrogateescape").splitlines():
        value, _, name = line.partition("\t")
        if value.startswith("ref: refs/heads/"):
            found[f"{name}@"] = value.removeprefix("ref: refs/heads/")
        else:
            found[name] = value
    return found


async def _fetch(repository: Repository, source: GitSource, heads: dict[str, str]) -> tuple[str, str]:
    """The commit, and the branch that it is the head of, if any."""
    ref = source.ref
    if not ref:
        if "HEAD" not in heads:
            raise SourceFailed(f"The repository {source.url} is empty.", hint="Push a commit first.")
        branch = heads.get("HEAD@", "")
        return await _fetch_ref(repository, source, f"refs/heads/{branch}" if branch else "HEAD"), branch
    if f"refs/heads/{ref}" in heads:
        return await _fetch_ref(repository, source, f"refs/heads/{ref}"), ref
    if f"refs/tags/{ref}" in heads:
        return await _fetch_ref(repository, source, f"refs/tags/{ref}"), ""
    if ref in heads and ref.startswith("refs/"):
        return await _fetch_ref(repository, source, ref), ""
    if _SHORTEST_PREFIX <= len(ref) <= 64 and not ref.strip("0123456789abcdef"):
        return await _fetch_commit(repository, source), ""
    raise await _unknown(repository, source)


async def _fetch_ref(repository: Repository, source: GitSource, name: str) -> str:
    target = name if name.startswith("refs/tags/") else "refs/aetherium/fetched"
    done = await repository.fetch(source.url, f"+{name}:{target}", depth=source.depth)
    commit = None if done.exit_code else await repository.commit(target)
    if commit is None:
        raise _failed(source, done)
    if name.startswith("refs/heads/"):
        branch = name.removeprefix("refs/heads/")
        await repository.run("update-ref", f"refs/remotes/origin/{branch}", commit)
    if target != name:
        await repository.run("update-ref", "-d", target)
    return commit


async def _fetch_commit(repository: Repository, source: GitSource) -> str:
    """By its id: directly where the server allows that, else among all branches and tags."""
    if is_commit(source.ref):
        done = await repository.fetch(source.url, source.ref, depth=source.depth)
        commit = None if done.exit_code else await repository.commit(source.ref)
        if commit is not None:
            return commit
    done = await repository.fetch(
        source.url, "+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*", depth=None
    )
    if done.exit_code:
        raise _failed(source, done)
    commit = await repository.commit(source.ref)
    if commit is None:
        raise SourceFailed(
            f"No branch or tag of {source.url} has a commit {source.ref!r}.",
            hint="Was it pushed? Give more digits if the id is short.",
            url=source.url,
            ref=source.ref,
        )
    return commit


async def _unknown(repository: Repository, source: GitSource) -> SourceFailed:
    listed = await repository.try_run("ls-remote", "--quiet", "--heads", "--tags", "--refs", "--", source.url)
    lines = listed.stdout.decode(errors="replace").splitlines()
    names = [line.partition("\t")[2].split("/", 2)[-1] for line in lines]
    near = difflib.get_close_matches(source.ref, names, n=1) or names[:5]
    hint = f"Did you mean {', '.join(map(repr, near))}?" if near else "It has no branches."
    return SourceFailed(
        f"{source.url} has no branch, tag or commit {source.ref!r}.",
        hint=hint,
        url=source.url,
        ref=source.ref,
    )


def _failed(source: GitSource, done: Completed) -> SourceFailed:
    said = message(done)
    hint = "Check the address and that the host can reach it."
    if "could not read Username" in said or "Authentication" in said or "Permission denied" in said:
        hint = "Only repositories that need no password, or that ssh's agent opens, can be fetched."
    if "dubious ownership" in said:
        hint = "The repository belongs to another user than the one that Aetherium runs as."
    return SourceFailed(
        f"The repository {source.url} cannot be fetched: {said}.", hint=hint, url=source.url, ref=source.ref
    )
