"""``aetherium certs``, as a script uses it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aetherium.cli.main import run
from aetherium.rpc.authority import Kind
from aetherium.rpc.certificates import Certificates


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


def test_one_that_has_expired_is_a_failure(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=3)
    Certificates(directory).issue("old", Kind.CLIENT, [], long_ago, days=1)
    assert run(["certs", "show"]) == 1
    assert "expired" in capsys.readouterr().out
    assert run(["certs", "renew", "old"]) == 0
    assert run(["certs", "show"]) == 0


def test_what_is_wrong_is_said(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["certs", "issue", "w1", "--kind", "judge"]) == 2
    assert "worker, gateway or client" in capsys.readouterr().err
    assert run(["certs", "init", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "already_exists"
    assert run(["certs", "init", "--dir", str(directory / "other")]) == 0
