"""What people write in options."""

from __future__ import annotations

from pathlib import Path

import pytest

from aetherium.cli import options
from aetherium.cli.run import Changes, apply, source
from aetherium.cli.vm_copy import Place
from aetherium.domain.errors import InvalidInput
from aetherium.domain.jobs import (
    ArchiveSource,
    BundleSource,
    DirectorySource,
    GitSource,
    JobSpec,
    JobStep,
)
from aetherium.domain.vms import NetworkMode


@pytest.mark.parametrize(
    ("text", "mib"),
    [("512", 512), ("512M", 512), ("2G", 2048), ("1.5GiB", 1536), ("2048k", 2), ("1tb", 1 << 20)],
)
def test_sizes(text: str, mib: int) -> None:
    assert options.mebibytes(text, "memory") == mib


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("2h", 7200), ("1d", 86400), ("500ms", 0.5)]
)
def test_durations(text: str, seconds: float) -> None:
    assert options.seconds(text, "ttl") == seconds


@pytest.mark.parametrize("text", ["", "x", "-1", "1 week", "1GG"])
def test_what_is_neither_is_refused_with_the_value(text: str) -> None:
    for read in (options.mebibytes, options.seconds):
        with pytest.raises(InvalidInput) as caught:
            read(text, "x")
        assert repr(text) in caught.value.message
        assert caught.value.hint


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERE", "h=1")
    assert options.environment(["A=b=c", "HERE", "E="]) == {"A": "b=c", "HERE": "h=1", "E": ""}
    with pytest.raises(InvalidInput, match="NOT_HERE"):
        options.environment(["NOT_HERE"])


def test_secrets_never_come_from_the_command_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TOKEN", "t")
    (tmp_path / "f").write_text("from file\n", encoding="utf-8")
    assert options.secrets(["TOKEN", f"KEY=@{tmp_path / 'f'}"]) == {"TOKEN": "t", "KEY": "from file"}
    for wrong in ("TOKEN=value", "MISSING_ONE", "a-b", f"KEY=@{tmp_path / 'none'}"):
        with pytest.raises(InvalidInput) as caught:
            options.secrets([wrong])
        assert "value" not in caught.value.message.replace("The value of", "")


def test_network() -> None:
    assert options.network(None, None).mode is NetworkMode.NONE
    assert options.network(None, ["pypi.org"]).allow == ("pypi.org",)
    with pytest.raises(InvalidInput):
        options.network("open", ["pypi.org"])
    with pytest.raises(InvalidInput, match="opne"):
        options.network("opne", None)


def test_sources(tmp_path: Path) -> None:
    (tmp_path / "a.tgz").touch()
    (tmp_path / "b.bundle").touch()
    assert source("https://h/p.git", "v1", None) == GitSource("https://h/p.git", "v1", 1)
    assert source("git@h:p.git", None, 0) == GitSource("git@h:p.git", "", None)
    assert source(str(tmp_path), None, None) == DirectorySource(str(tmp_path))
    assert source(str(tmp_path), "v1", None) == GitSource(f"file://{tmp_path}", "v1", None)
    assert source(str(tmp_path / "a.tgz"), None, None) == ArchiveSource(str(tmp_path / "a.tgz"))
    assert source(str(tmp_path / "b.bundle"), None, None) == BundleSource(str(tmp_path / "b.bundle"))
    with pytest.raises(InvalidInput, match="nowhere"):
        source(str(tmp_path / "nowhere"), None, None)


def test_options_change_a_job() -> None:
    spec = JobSpec(steps=(JobStep("s", "true"),), env={"A": "1"}, patch=False)
    changed = apply(
        spec,
        Changes(
            env=("B=2",),
            artifacts=("dist/*", "dist/*"),
            memory="1G",
            network="open",
            timeout="1m",
            patch=True,
        ),
        ("TOKEN",),
    )
    assert changed.env == {"A": "1", "B": "2"}
    assert [(rule.name, rule.pattern) for rule in changed.artifacts] == [
        ("dist", "dist/*"),
        ("dist-2", "dist/*"),
    ]
    assert changed.resources.memory_mib == 1024
    assert (changed.timeout_s, changed.patch, changed.secrets) == (60, True, ("TOKEN",))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("box:/a", Place("box", "/a")),
        ("box:a:b", Place("box", "a:b")),
        ("./a:b", Place("", "./a:b")),
        ("/a", Place("", "/a")),
        ("-", Place("", "-")),
    ],
)
def test_places(text: str, place: Place) -> None:
    assert Place.parse(text) == place


def test_a_place_without_a_path_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no path"):
        Place.parse("box:")
