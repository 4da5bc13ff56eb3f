"""Sources that are git repositories."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aetherium.domain.errors import InvalidInput, LimitExceeded, SourceFailed
from aetherium.domain.jobs import BundleSource, DirectorySource, GitSource, JobSource
from aetherium.sources.delivery import Delivery
from aetherium.sources.opening import open_source
from tests.unit.jobs.trees import commit, content, git, repository, unpack

MIB = 1 << 20
HOSTILE_KEYS = (
    "core.fsmonitor", "core.sshCommand", "core.pager", "core.gitProxy", "core.alternateRefsCommand",
    "core.askPass", "credential.helper", "diff.external", "diff.evil.textconv", "filter.evil.clean",
    "filter.evil.process", "filter.evil.smudge", "gpg.program", "uploadpack.packObjectsHook",
)  # fmt: skip


@pytest.fixture
async def origin(tmp_path: Path) -> Path:
    """Three commits, a tag on the second, a branch beside."""
    path = tmp_path / "origin"
    await repository(path, {"a.txt": b"one\n", "sub/b.bin": bytes(range(256))})
    await commit(path, {"a.txt": b"two\n"}, "second")
    await git(path, "tag", "-a", "v1", "-m", "v1")
    await commit(path, {"a.txt": b"three\n"}, "third")
    await git(path, "branch", "side/line", "HEAD~1")
    return path


async def deliver(source: JobSource, tmp_path: Path, limit: int = 64 * MIB) -> tuple[Path, Delivery]:
    scratch, target = tmp_path / "scratch", tmp_path / "guest"
    scratch.mkdir()
    delivery = await open_source(source, scratch, limit)
    await unpack(delivery.pieces, target)
    return target, delivery


@pytest.mark.parametrize(
    ("ref", "text", "branch"),
    [
        ("", b"three\n", "main"),
        ("main", b"three\n", "main"),
        ("side/line", b"two\n", "side/line"),
        ("v1", b"two\n", ""),
        ("refs/tags/v1", b"two\n", ""),
    ],
)
async def test_a_ref_is_checked_out(origin: Path, tmp_path: Path, ref: str, text: bytes, branch: str) -> None:
    target, delivery = await deliver(GitSource(str(origin), ref), tmp_path)
    assert (target / "a.txt").read_bytes() == text
    assert delivery.clean
    assert await git(target, "rev-parse", "HEAD") == delivery.commit
    assert await git(target, "status", "--porcelain") == ""
    assert await git(target, "rev-list", "--count", "HEAD") == "1"
    assert await git(target, "branch", "--show-current") == branch
    assert await git(target, "config", "remote.origin.url") == str(origin)


@pytest.mark.parametrize("digits", [40, 12])
async def test_any_commit_is_checked_out(origin: Path, tmp_path: Path, digits: int) -> None:
    first = await git(origin, "rev-list", "--max-parents=0", "HEAD")
    target, delivery = await deliver(GitSource(str(origin), first[:digits]), tmp_path)
    assert delivery.commit == first
    assert (target / "a.txt").read_bytes() == b"one\n"


async def test_depth(origin: Path, tmp_path: Path) -> None:
    target, _ = await deliver(GitSource(f"file://{origin}", "", 2), tmp_path)
    assert await git(target, "rev-list", "--count", "HEAD") == "2"
    (tmp_path / "again").mkdir()
    whole, _ = await deliver(GitSource(f"file://{origin}", "", None), tmp_path / "again")
    assert await git(whole, "rev-list", "--count", "HEAD") == "3"


async def test_an_unknown_ref_is_answered_with_the_nearest(origin: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceFailed, match=r"'side/lime'.*Did you mean 'side/line'"):
        await deliver(GitSource(str(origin), "side/lime"), tmp_path)


async def test_an_unknown_commit(origin: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceFailed, match="No branch or tag"):
        await deliver(GitSource(str(origin), "dead" * 10), tmp_path)


async def test_a_repository_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SourceFailed, match="cannot be fetched"):
        await deliver(GitSource(str(tmp_path / "nothing")), tmp_path)


async def test_an_empty_repository(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    await git(tmp_path / "empty", "init", "-q")
    with pytest.raises(SourceFailed, match="is empty"):
        await deliver(GitSource(str(tmp_path / "empty")), tmp_path)


@pytest.mark.parametrize(
    "url",
    [
        "ext::sh -c id",
        "--upload-pack=touch /tmp/owned",
        "https://user:secret@example.org/a.git",
        "https://token@example.org/a.git",
        "ssh://git:secret@example.org/a",
        "ftp://example.org/a",
        "gopher://x/y",
        "",
        "a\nb",
    ],
)
async def test_a_hostile_address_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(InvalidInput):
        await deliver(GitSource(url), tmp_path)


@pytest.mark.parametrize(
    "ref", ["--upload-pack=x", "-x", "a..b", "a b", "../../etc", "@{-1}", "refs/heads/../x"]
)
async def test_a_hostile_ref_is_refused(origin: Path, tmp_path: Path, ref: str) -> None:
    with pytest.raises(SourceFailed):
        await deliver(GitSource(str(origin), ref), tmp_path)


async def test_a_source_above_the_limit(tmp_path: Path) -> None:
    await repository(tmp_path / "big", {"noise": os.urandom(3 * MIB)})
    with pytest.raises(LimitExceeded, match="more than 1 MiB"):
        await deliver(GitSource(str(tmp_path / "big")), tmp_path, MIB)


async def test_a_bomb_is_stopped_while_it_is_sent(tmp_path: Path) -> None:
    await repository(tmp_path / "bomb", {f"zeros{n}": bytes(MIB) for n in range(8)})
    with pytest.raises(LimitExceeded):
        await deliver(GitSource(str(tmp_path / "bomb")), tmp_path, 2 * MIB)


async def test_attributes_for_releases_do_not_matter(tmp_path: Path) -> None:
    files = {
        ".gitattributes": b"secret export-ignore\nid export-subst\n",
        "secret": b"x",
        "id": b"$Format:%H$",
    }
    await repository(tmp_path / "origin", files)
    target, _ = await deliver(GitSource(str(tmp_path / "origin")), tmp_path)
    assert (target / "secret").exists()
    assert (target / "id").read_bytes() == b"$Format:%H$"


async def test_links_modes_and_strange_names(tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    await repository(origin, {"run": b"#!/bin/sh\n", 'a "b"\n\\c': b"x", "ö": b"y"})
    (origin / "run").chmod(0o755)
    (origin / "link").symlink_to("../../../etc/passwd")
    (origin / os.fsdecode(b"\xff")).write_bytes(b"raw")
    await commit(origin, {})
    target, _ = await deliver(GitSource(str(origin)), tmp_path)
    assert content(target) == content(origin)
    assert await git(target, "status", "--porcelain") == ""


async def test_a_directory_goes_with_its_changes(origin: Path, tmp_path: Path) -> None:
    (origin / ".gitignore").write_text("*.log\n")
    (origin / "x.log").write_text("ignored")
    (origin / "new" / "deep").mkdir(parents=True)
    (origin / "new" / "deep" / "file").write_text("untracked")
    (origin / "a.txt").write_text("changed\n")
    (origin / "sub" / "b.bin").unlink()
    target, delivery = await deliver(DirectorySource(str(origin)), tmp_path)
    assert delivery.commit == await git(origin, "rev-parse", "HEAD")
    assert not delivery.clean
    assert {*content(target)} == {b".gitignore", b"new/deep/file", b"a.txt"}
    changed = (await git(target, "status", "--porcelain", "-uall")).splitlines()
    assert changed == ["M a.txt", " D sub/b.bin", "?? .gitignore", "?? new/deep/file"]
    assert await git(target, "branch", "--show-current") == "main"


async def test_a_directory_as_committed(origin: Path, tmp_path: Path) -> None:
    (origin / "a.txt").write_text("changed\n")
    target, delivery = await deliver(DirectorySource(str(origin), uncommitted=False, depth=None), tmp_path)
    assert delivery.clean
    assert (target / "a.txt").read_text() == "three\n"
    assert await git(target, "rev-list", "--count", "HEAD") == "3"


async def test_nothing_private_of_a_repository_goes_along(origin: Path, tmp_path: Path) -> None:
    await git(origin, "config", "http.extraheader", "Authorization: Basic c2VjcmV0")
    await git(origin, "remote", "add", "origin", "https://user:topsecret@example.org/x.git")
    (origin / "stashed").write_text("hidden")
    await git(origin, "add", "-A")
    await git(origin, "stash", "-q")
    target, _ = await deliver(DirectorySource(str(origin)), tmp_path)
    assert (await git(target, "for-each-ref", "--format=%(refname)")) == "refs/heads/main"
    config = (target / ".git" / "config").read_text()
    assert "topsecret" not in config
    assert "Authorization" not in config
    assert not (target / ".git" / "hooks").exists()


async def test_a_hostile_directory_runs_nothing(origin: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\ntouch '{mark}'\n")
    script.chmod(0o755)
    (origin / ".gitattributes").write_text("* filter=evil diff=evil\n")
    for key in HOSTILE_KEYS:
        await git(origin, "config", key, str(script))
    hooks = origin / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("post-checkout", "post-index-change", "reference-transaction", "fsmonitor-watchman"):
        (hooks / name).write_text(script.read_text())
        (hooks / name).chmod(0o755)
    (origin / "a.txt").write_text("changed")
    await deliver(DirectorySource(str(origin)), tmp_path)
    assert not mark.exists()


async def test_a_part_of_a_repository_is_a_plain_tree(origin: Path, tmp_path: Path) -> None:
    (origin / "sub" / ".gitignore").write_text("out\n")
    (origin / "sub" / "out").write_text("ignored")
    target, delivery = await deliver(DirectorySource(str(origin / "sub")), tmp_path)
    assert delivery.commit == ""
    assert {*content(target)} == {b".gitignore", b"b.bin"}


async def test_a_worktree_and_a_shallow_clone(origin: Path, tmp_path: Path) -> None:
    await git(origin, "worktree", "add", "-q", str(tmp_path / "tree"), "side/line")
    target, delivery = await deliver(DirectorySource(str(tmp_path / "tree"), depth=None), tmp_path)
    assert delivery.commit == await git(origin, "rev-parse", "side/line")
    assert (target / "a.txt").read_text() == "two\n"


async def test_a_shallow_clone_can_be_copied(origin: Path, tmp_path: Path) -> None:
    await git(tmp_path, "clone", "-q", "--depth=1", f"file://{origin}", "shallow")
    target, _ = await deliver(DirectorySource(str(tmp_path / "shallow"), depth=None), tmp_path)
    assert await git(target, "rev-list", "--count", "HEAD") == "1"


async def test_repositories_inside_stay_behind(origin: Path, tmp_path: Path) -> None:
    await repository(origin / "vendor", {"c": b"x"})
    _, delivery = await deliver(DirectorySource(str(origin)), tmp_path)
    assert len(delivery.warnings) == 1
    assert "vendor" in delivery.warnings[0]


async def test_a_repository_without_commits(tmp_path: Path) -> None:
    (tmp_path / "young").mkdir()
    await git(tmp_path / "young", "init", "-q")
    (tmp_path / "young" / "file").write_text("x")
    target, delivery = await deliver(DirectorySource(str(tmp_path / "young")), tmp_path)
    assert delivery.commit == ""
    assert content(target) == {b"file": ("file", b"x")}


async def test_a_plain_directory_goes_whole(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    (plain / "empty").mkdir(parents=True)
    (plain / "a").write_text("x")
    (plain / "link").symlink_to("a")
    os.mkfifo(plain / "pipe")
    target, delivery = await deliver(DirectorySource(str(plain)), tmp_path)
    assert delivery.commit == ""
    assert (target / "empty").is_dir()
    assert content(target) == content(plain)


async def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SourceFailed, match="no directory"):
        await deliver(DirectorySource(str(tmp_path / "nothing")), tmp_path)


async def test_a_bundle_with_a_patch(origin: Path, tmp_path: Path) -> None:
    await git(origin, "bundle", "create", "-q", str(tmp_path / "b.bundle"), "HEAD", "main")
    (origin / "a.txt").write_text("patched\n")
    (origin / "bin").write_bytes(bytes(range(256)) * 3)
    await git(origin, "add", "-A")
    patch = tmp_path / "p.diff"
    await git(origin, "diff", "--binary", "HEAD", f"--output={patch}")
    source = BundleSource(str(tmp_path / "b.bundle"), patch=str(patch))
    target, delivery = await deliver(source, tmp_path)
    assert not delivery.clean
    assert content(target) == content(origin)
    assert await git(target, "rev-parse", "HEAD") == await git(origin, "rev-parse", "HEAD")
    assert await git(target, "rev-list", "--count", "HEAD") == "3"


@pytest.mark.parametrize(
    "data", [b"", b"nonsense", b"# v2 git bundle\n" + b"0" * 40 + b" refs/heads/x\n\nPACK"]
)
async def test_what_is_no_bundle(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "b").write_bytes(data)
    with pytest.raises(SourceFailed):
        await deliver(BundleSource(str(tmp_path / "b")), tmp_path)


async def test_a_patch_that_does_not_apply(origin: Path, tmp_path: Path) -> None:
    await git(origin, "bundle", "create", "-q", str(tmp_path / "b.bundle"), "main")
    (tmp_path / "p").write_text("--- a/none\n+++ b/none\n@@ -1 +1 @@\n-x\n+y\n")
    with pytest.raises(SourceFailed, match="does not apply"):
        await deliver(BundleSource(str(tmp_path / "b.bundle"), patch=str(tmp_path / "p")), tmp_path)
