"""Whoever goes back to an older schema is asked first."""

from __future__ import annotations

import io

import pytest
import typer

from aetherium.cli import db
from aetherium.domain.errors import InvalidInput


class Terminal(io.StringIO):
    """A keyboard at which somebody has typed."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("answer", ["n\n", "\n"])
def test_no_is_no(answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    with pytest.raises(typer.Exit) as end:
        db._ask("0001", as_json=False)
    assert end.value.exit_code == 1


def test_the_question_says_what_it_is_about(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    db._ask("0001", as_json=False)
    shown = capsys.readouterr()
    assert "Go back to the schema 0001?" in shown.err
    assert not shown.out.strip()


@pytest.mark.parametrize(("stdin", "as_json"), [(io.StringIO("y\n"), False), (Terminal("y\n"), True)])
def test_programs_are_not_asked(stdin: io.StringIO, as_json: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", stdin)
    with pytest.raises(InvalidInput, match="can lose data"):
        db._ask("0001", as_json=as_json)
