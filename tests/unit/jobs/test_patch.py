"""The patch: applied to the commit it gives exactly the tree that the job left."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aetherium.domain.errors import GuestError, LimitExceeded
from aetherium.interfaces.guest import Guest
from aetherium.worker.jobs.patch import Patches, PatchResult
from tests.unit.jobs.guests import agent
from tests.unit.jobs.trees import commit, content, git, repository, write

MIB = 1 << 20


@pytest.fixture(scope="module")
async def guest(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Guest]:
    async with agent(tmp_path_factory.mktemp("agent")) as found:
        yield found


class Change:
    """A commit, a working tree of the "guest" beside it, and what the job made of that."""

    def __init__(self, guest: Guest, top: Path, base: str) -> None:
        self.work, self.out = top / "work", top / "out"
        self.out.mkdir()
        self.patches = Patches(guest, str(self.work), str(top / "private"), base)

    async def prepare(self, *, clean: bool = True) -> None:
        assert await self.patches.prepare(clean=clean, user=None) == ()

    async def finish(self, limit: int = 64 * MIB) -> PatchResult:
        return await self.patches.finish(self.out, limit)


async def begin(guest: Guest, top: Path, files: dict[str, bytes]) -> Change:
    base = await repository(top / "origin", files)
    shutil.copytree(top / "origin", top / "work", symlinks=True)
    return Change(guest, top, base)


_NAMES = st.lists(
    st.binary(min_size=1, max_size=6).filter(lambda name: not {0, 47} & {*name} and name not in (b".", b".."))
    | st.sampled_from([b"a b", b'q"t', b"\xff", b"n\nl", b"t\tb", b"\\b", b"-f", b"d", b"e"]),
    min_size=1,
    max_size=3,
).map(lambda parts: b"/".join(parts))
_DATA = st.binary(max_size=60) | st.lists(
    st.sampled_from([b"one\n", b"two\r\n", b"three", b"\n", b"\0", b"-- \n"]), max_size=8
).map(b"".join)
_TREES = st.dictionaries(_NAMES, st.tuples(st.sampled_from(["file", "program", "link"]), _DATA), max_size=6)


def plant(directory: Path, tree: dict[bytes, tuple[str, bytes]]) -> None:
    """Make the tree, as far as its names go together and git takes them."""
    for name, (kind, data) in tree.items():
        parts = name.lower().split(b"/")
        if any(part.startswith(b".git") or b"~" in part for part in parts):
            continue
        path = directory / os.fsdecode(name)
        if path.exists() or path.is_symlink():
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue  # what is above it is a file
        if kind == "link":
            path.symlink_to(os.fsdecode(data.replace(b"\0", b"") or b"x"))
        else:
            path.write_bytes(data)
            path.chmod(0o755 if kind == "program" else 0o644)


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(before=_TREES, after=_TREES)
async def test_any_tree_becomes_any_other(
    guest: Guest,
    tmp_path_factory: pytest.TempPathFactory,
    before: dict[bytes, tuple[str, bytes]],
    after: dict[bytes, tuple[str, bytes]],
) -> None:
    top = tmp_path_factory.mktemp("any")
    await repository(top / "origin", {})
    plant(top / "origin", before)
    base = await commit(top / "origin", {})
    shutil.copytree(top / "origin", top / "work", symlinks=True)
    change = Change(guest, top, base)
    await change.prepare()
    kept = {name: value for at, (name, value) in enumerate(before.items()) if at % 2}
    for path in (top / "work").iterdir():
        if path.name != ".git":
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    plant(top / "work", {**kept, **after})
    result = await change.finish()
    if result.summary is None:
        assert content(top / "work") == content(top / "origin")
        return
    await git(top / "origin", "apply", "--check", str(change.out / "changes.patch"))
    await git(top / "origin", "apply", str(change.out / "changes.patch"))
    assert content(top / "origin") == content(top / "work")


async def test_summary(guest: Guest, tmp_path: Path) -> None:
    change = await begin(guest, tmp_path, {"a": b"1\n2\n", "b": b"x\n", "c": bytes(300)})
    await change.prepare()
    write(change.work, {"a": b"1\n3\n4\n", "c": bytes(301), "new": b"n\n"})
    (change.work / "b").unlink()
    summary = (await change.finish()).summary
    assert summary is not None
    assert (summary.files, summary.insertions, summary.deletions, summary.delta) == (4, 3, 2, "")
    assert summary.size_bytes == (change.out / "changes.patch").stat().st_size


async def test_nothing_changed(guest: Guest, tmp_path: Path) -> None:
    change = await begin(guest, tmp_path, {"a": b"1\n", ".gitignore": b"*.o\n"})
    await change.prepare()
    write(change.work, {"x.o": b"ignored"})
    assert (await change.finish()).summary is None
    assert list(change.out.iterdir()) == []


@pytest.mark.parametrize("clean", [True, False])
async def test_the_jobs_own_git_does_not_matter(guest: Guest, tmp_path: Path, clean: bool) -> None:
    change = await begin(guest, tmp_path, {"a": b"1\n"})
    await change.prepare(clean=clean)
    write(change.work, {"a": b"2\n"})
    await git(change.work, "add", "-A")
    await git(change.work, "commit", "-q", "-m", "hidden")
    await git(change.work, "gc", "-q", "--prune=now")
    shutil.rmtree(change.work / ".git")
    assert (await change.finish()).summary is not None
    await git(tmp_path / "origin", "apply", str(change.out / "changes.patch"))
    assert content(tmp_path / "origin") == content(change.work)


async def test_a_hostile_configuration_runs_nothing(guest: Guest, tmp_path: Path) -> None:
    change = await begin(guest, tmp_path, {"a": b"1\n"})
    await change.prepare()
    mark = tmp_path / "mark"
    for key in ("core.fsmonitor", "filter.x.clean", "diff.external", "diff.x.textconv", "core.pager"):
        await git(change.work, "config", key, f"touch {mark}; cat")
    write(change.work, {".gitattributes": b"* filter=x diff=x\n", "a": b"2\n"})
    assert (await change.finish()).summary is not None
    assert not mark.exists()


async def test_repositories_inside_are_left_out(guest: Guest, tmp_path: Path) -> None:
    change = await begin(guest, tmp_path, {"a": b"1\n"})
    await change.prepare()
    await repository(change.work / "vendor", {"x": b"y"})
    write(change.work, {"a": b"2\n"})
    summary = (await change.finish()).summary
    assert summary is not None
    assert summary.files == 1
    await git(tmp_path / "origin", "apply", str(change.out / "changes.patch"))


async def test_an_empty_repository_inside_hides_nothing_else(guest: Guest, tmp_path: Path) -> None:
    change = await begin(guest, tmp_path, {"a": b"1\n"})
    await change.prepare()
    write(change.work, {"a": b"2\n", "empty/x": b"x"})
    await git(change.work / "empty", "init", "-q")
    summary = (await change.finish()).summary
    assert summary is not None
    assert summary.files == 1


async def test_without_a_commit(guest: Guest, tmp_path: Path) -> None:
    write(tmp_path / "work", {"a": b"1\n", "o.log": b"x", ".gitignore": b"*.log\n"})
    change = Change(guest, tmp_path, "")
    await change.prepare(clean=False)
    shutil.copytree(change.work, tmp_path / "origin")
    write(change.work, {"a": b"2\n", "o.log": b"y", "p.log": b"new and ignored"})
    summary = (await change.finish()).summary
    assert summary is not None
    assert (summary.commit, summary.files) == ("", 2)
    await git(tmp_path / "origin", "apply", str(change.out / "changes.patch"))
    (change.work / "p.log").unlink()
    assert content(tmp_path / "origin") == content(change.work)


async def test_a_patch_above_the_limit(guest: Guest, tmp_path: Path) -> None:
    change = await begin(guest, tmp_path, {"a": b"1\n"})
    await change.prepare()
    write(change.work, {"noise": os.urandom(2 * MIB)})
    with pytest.raises(LimitExceeded):
        await change.finish(MIB)
    assert list(change.out.iterdir()) == []


async def test_a_work_tree_that_is_gone(guest: Guest, tmp_path: Path) -> None:
    change = await begin(guest, tmp_path, {"a": b"1\n"})
    await change.prepare()
    shutil.rmtree(change.work)
    with pytest.raises(GuestError, match="cannot be told"):
        await change.finish()
