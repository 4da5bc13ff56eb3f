"""Artifacts: what is taken, what is refused, and that nothing leaves its place."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aetherium.domain.errors import LimitExceeded
from aetherium.domain.guest import FileKind
from aetherium.domain.jobs import ArtifactRule
from aetherium.interfaces.guest import Guest
from aetherium.sources.tarstream import END, BrokenArchive, hard_link, header
from aetherium.worker.jobs import artifacts
from aetherium.worker.jobs.artifacts import ArtifactBox, host_name
from tests.unit.jobs.guests import agent, lying
from tests.unit.jobs.trees import write

MIB = 1 << 20


def file(name: str, data: bytes = b"x", size: int | None = None) -> bytes:
    whole = header(name, FileKind.FILE, mode=0o644, size=len(data) if size is None else size)
    return whole + data + bytes(-len(data) % 512)


def beside(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


@pytest.fixture
async def guest(tmp_path: Path) -> AsyncIterator[Guest]:
    (tmp_path / "agent").mkdir()
    async with agent(tmp_path / "agent") as found:
        yield found


@pytest.fixture
def work(tmp_path: Path) -> Path:
    tree = {"a.xml": b"<a/>", "sub/a.xml": b"<b/>", "sub/deep/c.txt": b"c", "dist/x-1.whl": b"wheel"}
    write(tmp_path / "work", tree)
    return tmp_path / "work"


@pytest.fixture
def box(tmp_path: Path) -> ArtifactBox:
    (tmp_path / "job").mkdir()
    return ArtifactBox(tmp_path / "job", MIB, 2 * MIB)


@pytest.mark.parametrize(
    ("pattern", "paths"),
    [
        ("a.xml", ["n"]),
        ("./a.xml", ["n"]),
        ("*.xml", ["n/a.xml"]),
        ("**/*.xml", ["n/a.xml", "n/sub/a.xml"]),
        ("sub", ["n/a.xml", "n/deep/c.txt"]),
        ("sub/", ["n/a.xml", "n/deep/c.txt"]),
        ("dist/*.whl", ["n/x-1.whl"]),
        ("*/a.xml", ["n/sub/a.xml"]),
        ("nothing", []),
        ("nothing/*", []),
        ("a.xml/b", []),
    ],
)
async def test_globs(guest: Guest, box: ArtifactBox, work: Path, pattern: str, paths: list[str]) -> None:
    found = await box.take(guest, str(work), ArtifactRule(pattern, "n"))
    assert sorted(artifact.path for artifact in found) == [f"artifacts/{path}" for path in paths]
    for artifact in found:
        data = (work.parent / "job" / artifact.path).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (artifact.size_bytes, artifact.sha256)


async def test_an_absolute_pattern(guest: Guest, box: ArtifactBox, work: Path) -> None:
    (artifact,) = await box.take(guest, "/", ArtifactRule(f"{work}/sub/*.xml", "n"))
    assert (artifact.path, artifact.media_type) == ("artifacts/n/a.xml", "application/xml")


async def test_links_are_not_followed(guest: Guest, box: ArtifactBox, work: Path) -> None:
    (work / "link.xml").symlink_to("/etc/passwd")
    os.mkfifo(work / "pipe.xml")
    found = await box.take(guest, str(work), ArtifactRule("*.xml", "n"))
    assert [artifact.name for artifact in found] == ["n/a.xml"]
    assert "link" in " ".join(box.warnings)


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/x", "a/../x", "..", ".", ""])
async def test_no_name_leaves_the_directory(box: ArtifactBox, tmp_path: Path, name: str) -> None:
    found = await box.take(lying(file(name) + END), "/w", ArtifactRule("*", "n"))
    assert all(each.path.startswith("artifacts/n/") and ".." not in each.path for each in found)
    assert beside(tmp_path) == {"job"}


async def test_a_link_is_no_way_out(box: ArtifactBox, tmp_path: Path) -> None:
    data = header("d", FileKind.SYMLINK, mode=0o777, target="/etc") + file("d/passwd") + END
    found = await box.take(lying(data), "/w", ArtifactRule("*", "n"))
    assert [each.path for each in found] == ["artifacts/n/d/passwd"]
    assert not (tmp_path / "job" / "artifacts" / "n" / "d").is_symlink()


@pytest.mark.parametrize(
    "data",
    [
        file("a") + file("a") + END,
        file("a") + file("a/b") + END,
        file("a/b") + file("a") + END,
        hard_link("a", "/etc/passwd") + END,
        file("a", b"short", size=1000),
        b"nonsense" * 1000,
    ],
)
async def test_what_no_agent_sends(box: ArtifactBox, tmp_path: Path, data: bytes) -> None:
    with pytest.raises(BrokenArchive):
        await box.take(lying(data), "/w", ArtifactRule("*", "n"))
    assert not (tmp_path / "job" / "artifacts" / "n").exists()


async def test_a_size_above_the_limit_is_not_even_begun(box: ArtifactBox, tmp_path: Path) -> None:
    with pytest.raises(LimitExceeded):
        await box.take(lying(file("a", b"", size=1 << 50)), "/w", ArtifactRule("*", "n"))
    assert not (tmp_path / "job" / "artifacts" / "n").exists()


async def test_hard_links_count(box: ArtifactBox) -> None:
    data = file("a", bytes(MIB // 2)) + b"".join(hard_link(f"b{n}", "a") for n in range(5)) + END
    with pytest.raises(LimitExceeded):
        await box.take(lying(data), "/w", ArtifactRule("*", "n"))


async def test_the_total_limit(box: ArtifactBox) -> None:
    data = file("a", bytes(MIB - 10)) + END
    for name in ("one", "two"):
        await box.take(lying(data), "/w", ArtifactRule("*", name))
    with pytest.raises(LimitExceeded):
        await box.take(lying(data), "/w", ArtifactRule("*", "three"))


async def test_too_many_files(box: ArtifactBox) -> None:
    box._files_left = 3
    with pytest.raises(LimitExceeded, match="files"):
        await box.take(lying(b"".join(file(f"f{n}") for n in range(5)) + END), "/w", ArtifactRule("*", "n"))


@given(st.text(min_size=1, max_size=60))
def test_host_names(name: str) -> None:
    found = host_name(name)
    if found is not None:
        parts = found.split("/")
        assert ".." not in parts
        assert all(parts)
        assert not any(ord(character) < 32 for character in found)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.sampled_from(["f", "l", "h"]), st.text("ab./\0", max_size=5)), max_size=5),
    st.data(),
)
async def test_whatever_is_sent_stays_inside(
    tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[str, str]], data: st.DataObject
) -> None:
    top = tmp_path_factory.mktemp("any")
    stream = b""
    for kind, name in entries:
        target = data.draw(st.sampled_from(["a", "b", "../x", "/etc"]))
        if kind == "f":
            stream += file(name)
        else:
            stream += (
                hard_link(name, target)
                if kind == "h"
                else header(name, FileKind.SYMLINK, mode=0o777, target=target)
            )
    box = artifacts.ArtifactBox(top / "job", MIB, MIB)
    try:
        await box.take(lying(stream + END), "/w", ArtifactRule("*", "n"))
    except BrokenArchive as error:
        assert error.message  # noqa: PT017 - either outcome is right
    assert beside(top) <= {"job"}
    assert not any(path.is_symlink() for path in top.rglob("*"))
