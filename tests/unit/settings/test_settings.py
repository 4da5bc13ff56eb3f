"""Settings and where they come from."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from aetherium.domain.errors import InvalidInput
from aetherium.domain.vms import Resources
from aetherium.settings import PoolSettings, Settings, default_data_dir

DOCS = Path(__file__).parents[3] / "docs" / "settings.md"


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith("AETHERIUM_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))


def test_defaults(tmp_path: Path) -> None:
    settings = Settings.load()
    assert settings.data_dir == default_data_dir() == tmp_path / "share" / "aetherium"
    assert settings.socket == settings.data_dir / "run" / "aetherium.sock"
    assert settings.resources == Resources(1, 512, 4096)


def test_each_source_beats_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "aetherium.toml").write_text("memory_mib = 1000\nvcpus = 2\ndisk_mib = 99\n")
    (tmp_path / "value").write_text("100\n")
    monkeypatch.setenv("AETHERIUM_DISK_MIB_FILE", str(tmp_path / "value"))
    monkeypatch.setenv("AETHERIUM_VCPUS", "3")
    monkeypatch.setenv("AETHERIUM_DATA_DIR", str(tmp_path))
    assert Settings.load().resources == Resources(3, 1000, 100)
    assert Settings.load(vcpus=4).vcpus == 4


def test_only_the_first_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "config" / "aetherium"
    home.mkdir(parents=True)
    (home / "aetherium.toml").write_text("vcpus = 2\n")
    assert Settings.load(data_dir=tmp_path / "data").vcpus == 2
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "aetherium.toml").write_text("memory_mib = 200\n")
    settings = Settings.load(data_dir=tmp_path / "data")
    assert (settings.vcpus, settings.memory_mib) == (1, 200)
    (tmp_path / "named.toml").write_text("vcpus = 5\n")
    monkeypatch.setenv("AETHERIUM_CONFIG", str(tmp_path / "named.toml"))
    assert Settings.load(data_dir=tmp_path / "data").vcpus == 5
    monkeypatch.setenv("AETHERIUM_CONFIG", str(tmp_path / "missing.toml"))
    with pytest.raises(InvalidInput, match="is no file"):
        Settings.load()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("memory_mb = 1", "'memory_mb'. Did you mean 'memory_mib'"),
        ("zzzzzz = 1", "There are: "),
        ("vcpus = 0", "vcpus is 0"),
        ("vcpus = [", "not valid TOML"),
        ('drivers = "qemu"', "drivers"),
        ("[[pool]]\nimagee = 'x'", "Did you mean 'image'"),
        ("[[pool]]\nminimum = 5\nmaximum = 2", "below the minimum"),
        ("[[pool]]\nvcpus = 1000", "vcpus is 1000"),
        ("[[pool]]\nnetwork = 'allowlist'", "allowlist belongs to one VM"),
        ("log_level = 'loud'", "debug, info, warning or error"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "aetherium.toml").write_text(text)
    with pytest.raises(InvalidInput) as caught:
        Settings.load(data_dir=tmp_path)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("AETHERIUM_MEMORY_MB", "1", "Did you mean 'memory_mib'"),
        ("AETHERIUM_VCPUS", "many", "vcpus is 'many'"),
        ("AETHERIUM_POOL", "{", "pool is '{'"),
        ("AETHERIUM_VCPUS_FILE", "/does/not/exist", "cannot be read"),
        ("AETHERIUM_VCPUS_FILE", "/dev/zero", "too long"),
    ],
)
def test_a_wrong_environment_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidInput) as caught:
        Settings.load()
    assert said in str(caught.value)


def test_paths_become_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert Settings.load(data_dir="here").data_dir == tmp_path / "here"


@pytest.mark.parametrize(
    "given",
    [
        {"rate_limit_key": "many"},
        {"rate_limit_address": "0/minute"},
        {"trusted_proxies": ("everybody",)},
        {"trusted_proxies": ("10.0.0.1/8",)},
        {"cors_origins": ("*",)},
        {"cors_origins": ("https://app.example/",)},
        {"cors_origins": ("app.example",)},
    ],
)
def test_access_is_not_opened_by_a_slip(tmp_path: Path, given: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(given))):
        Settings.load(data_dir=tmp_path, **given)


def test_every_setting_is_documented_and_nothing_else() -> None:
    text = DOCS.read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", text, re.M)) == set(Settings.model_fields)
    example = text.split("[[pool]]", 1)[1].split("```", 1)[0]
    assert set(re.findall(r"^(\w+) =", example, re.M)) == set(PoolSettings.model_fields)


def test_documented_defaults_are_true() -> None:
    fields = Settings.model_fields
    for name, shown in re.findall(r"^\| `(\w+)` \| `([^`]*)` \|", DOCS.read_text(), re.M):
        default = fields[name].default
        if isinstance(default, int | float) and not isinstance(default, bool):
            assert float(shown) == float(default), name
        elif isinstance(default, str):
            assert shown == default, name


def test_the_pool_is_of_the_default_image_and_size_unless_others_are_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "aetherium.toml").write_text("memory_mib = 1024\nimage = 'tools'")
    (pool,) = Settings.load(data_dir=tmp_path).pools
    assert (pool.image, pool.memory_mib, pool.minimum, pool.maximum) == ("tools", 1024, 1, 4)
    assert pool.resources == Settings.load(data_dir=tmp_path).resources
    (tmp_path / "aetherium.toml").write_text("[[pool]]\nminimum = 2")
    (pool,) = Settings.load(data_dir=tmp_path).pools
    assert (pool.image, pool.minimum) == ("base", 2)
    (tmp_path / "aetherium.toml").write_text("pool = []")
    assert Settings.load(data_dir=tmp_path).pools == ()
    (tmp_path / "aetherium.toml").unlink()
    monkeypatch.setenv("AETHERIUM_POOL", "[]")
    assert Settings.load(data_dir=tmp_path).pools == ()
