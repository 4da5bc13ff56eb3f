"""The pages on the command line and the API name every command and every endpoint."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any, cast

import pytest

from aetherium.cli import app as tree
from aetherium.gateway.access import Services
from aetherium.gateway.app import create_app

DOCS = Path(__file__).parents[3] / "docs"


def test_every_command_is_described() -> None:
    page = (DOCS / "cli.md").read_text(encoding="utf-8")
    for name in tree._COMMANDS:
        assert f"## {name}" in page
        for inner, command in getattr(tree._load(name), "commands", {}).items():
            assert command.hidden or f"`{name} {inner}`" in page, (name, inner)


def test_every_endpoint_is_described() -> None:
    page = (DOCS / "api.md").read_text(encoding="utf-8")
    paths = create_app(cast(Services, object())).openapi()["paths"]
    for path, methods in paths.items():
        for method in methods:
            assert f"`{method.upper()} {path}`" in page, (method, path)


def _examples() -> list[str]:
    """The commands of the page on tasks, those within others included."""
    page = (DOCS / "tasks.md").read_text(encoding="utf-8")
    return re.findall(r"(?:^\$ |\$\()aetherium ([^)\n]+)", page, flags=re.MULTILINE)


@pytest.mark.parametrize("example", _examples())
def test_the_examples_on_tasks_are_understood(example: str) -> None:
    name, inner, *arguments = shlex.split(example)
    command: Any = tree._load(name).commands[inner]
    command.make_context(inner, arguments)


def test_there_are_examples_on_tasks() -> None:
    assert {"task", "dead-letter", "schedule", "queue", "project", "worker", "event"} == {
        example.split()[0] for example in _examples()
    }
