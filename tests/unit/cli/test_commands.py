"""The tree of commands: help with examples everywhere, suggestions, JSON errors, whose `--` it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from aetherium.cli import app as tree
from aetherium.cli.main import run


def _commands() -> Iterator[tuple[str, Any]]:
    for name in tree._COMMANDS:
        command = tree._load(name)
        yield name, command
        for inner_name, inner in getattr(command, "commands", {}).items():
            yield f"{name} {inner_name}", inner


COMMANDS = dict(_commands())


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_says_what_it_is_for_with_an_example(path: str) -> None:
    command = COMMANDS[path]
    assert command.help
    assert command.hidden or "aetherium " in (command.epilog or "")


@pytest.mark.parametrize("path", [path for path in COMMANDS if path != "vm shell"])
def test_every_command_can_answer_with_json(path: str) -> None:
    command = COMMANDS[path]
    if getattr(command, "commands", None) and path != "doctor":
        return
    assert any("--json" in parameter.opts for parameter in command.params)


def test_help_lists_all_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in tree._COMMANDS)


@pytest.mark.parametrize(
    ("wrong", "meant"), [(["vmm"], "vm"), (["vm", "lst"], "list"), (["vm", "list", "--jsn"], "--json")]
)
def test_the_nearest_is_suggested(wrong: list[str], meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(wrong) == 2
    assert meant in capsys.readouterr().err


def test_errors_are_json_where_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["vm", "get", "--json"]) == 2
    answer = json.loads(capsys.readouterr().out)
    assert answer["error"]["code"] == "invalid_input"


@pytest.mark.parametrize(
    ("given", "vm", "command"),
    [
        (["box", "--", "ls", "-l"], "box", ["ls", "-l"]),
        (["box", "ls", "-l"], "box", ["ls", "-l"]),
        (["box", "git", "checkout", "--", "f"], "box", ["git", "checkout", "--", "f"]),
        (["box", "-i", "--", "sh", "-c", "x -- y"], "box", ["sh", "-c", "x -- y"]),
        (["-i", "box", "sh", "--", "-t"], "box", ["sh", "--", "-t"]),
    ],
)
def test_whose_options_they_are(given: list[str], vm: str, command: list[str]) -> None:
    exec_ = COMMANDS["vm exec"]
    context = exec_.make_context("exec", list(given))
    assert context.params["ref"] == vm
    assert list(context.params["argv"]) == command
    assert context.params["tty"] is False
