"""``aetherium certs``, as a script uses it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aetherium.cli.main import run


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AETHERIUM_DATA_DIR", str(tmp_path))
    assert run(["certs", "init"]) == 0
    return tmp_path / "certs"


def test_they_are_made_renewed_and_shown(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["certs", "issue", "w1", "--host", "w1.example", "--days", "10"]) == 0
    assert run(["certs", "issue", "g1", "--kind", "gateway"]) == 0
    assert run(["certs", "renew", "w1", "--days", "20"]) == 0
    capsys.readouterr()
    assert run(["certs", "show", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(one["name"], one["kind"], one["days"]) for one in found] == [
        ("ca", "authority", 3650),
        ("g1", "gateway", 365),
        ("w1", "worker", 20),
    ]
    assert Path(found[2]["key"]).read_text().startswith("-----BEGIN PRIVATE KEY-----")
    assert run(["certs", "show"]) == 0
    assert "w1.example" in capsys.readouterr().out


def test_what_is_wrong_is_said(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["certs", "issue", "w1", "--kind", "judge"]) == 2
    assert "worker, gateway or client" in capsys.readouterr().err
    assert run(["certs", "init", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "already_exists"
    assert run(["certs", "init", "--dir", str(directory / "other")]) == 0
