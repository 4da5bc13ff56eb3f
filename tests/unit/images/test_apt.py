"""What is taken from the host's apt configuration."""

from __future__ import annotations

from pathlib import Path

from aetherium.images.apt import RELEASE, Source, host_sources, state


def _etc(tmp_path: Path, **files: str) -> Path:
    (tmp_path / "sources.list.d").mkdir()
    for name, text in files.items():
        (tmp_path / "sources.list.d" / name.replace("__", ".")).write_text(text)
    return tmp_path


def test_lines_of_the_release_are_taken_and_others_are_not(tmp_path: Path) -> None:
    etc = _etc(
        tmp_path,
        a__list=(
            "# deb http://commented.test/debian bookworm main\n"
            "deb [arch=amd64 signed-by=/k.gpg] http://mirror.test/debian bookworm main contrib\n"
            "deb-src http://mirror.test/debian bookworm main\n"
            "deb https://other.test/apt vendor-bookworm main\n"
        ),
        ignored__save="deb http://old.test/debian bookworm main\n",
    )
    assert host_sources(etc) == [Source("http://mirror.test/debian", "bookworm", "signed-by=/k.gpg")]


def test_deb822(tmp_path: Path) -> None:
    etc = _etc(
        tmp_path,
        debian__sources=(
            "Types: deb deb-src\nURIs: http://a.test/debian http://b.test/debian\n"
            "Suites: bookworm bookworm-updates trixie\nComponents: main\nSigned-By: /k.gpg\n\n"
            "Types: deb\nURIs: http://off.test/\nSuites: bookworm\nComponents: main\nEnabled: no\n"
        ),
    )
    found = [str(source) for source in host_sources(etc)]
    assert found == [
        "deb [signed-by=/k.gpg] http://a.test/debian bookworm main",
        "deb [signed-by=/k.gpg] http://a.test/debian bookworm-updates main",
        "deb [signed-by=/k.gpg] http://b.test/debian bookworm main",
        "deb [signed-by=/k.gpg] http://b.test/debian bookworm-updates main",
    ]


def test_a_host_of_another_release_gets_debians_own_servers(tmp_path: Path) -> None:
    etc = _etc(tmp_path, a__list="deb http://archive.test/ubuntu noble main\n")
    found = host_sources(etc)
    assert {source.suite for source in found} >= {RELEASE}
    assert all("deb.debian.org" in source.uri for source in found)


def test_the_state_changes_with_lists_and_sources(tmp_path: Path) -> None:
    sources = [Source("http://mirror.test/debian", RELEASE)]
    before = state(sources, tmp_path)
    assert before == state(sources, tmp_path)
    (tmp_path / f"mirror.test_debian_dists_{RELEASE}_InRelease").write_text("Date: today\n")
    after = state(sources, tmp_path)
    assert after != before
    assert state([], tmp_path) != after
