"""The pages on the command line and the API name every command and every endpoint."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from aetherium.cli import app as tree
from aetherium.gateway.app import create_app
from aetherium.gateway.platform import Platform

DOCS = Path(__file__).parents[3] / "docs"


def test_every_command_is_described() -> None:
    page = (DOCS / "cli.md").read_text(encoding="utf-8")
    for name in tree._COMMANDS:
        assert f"## {name}" in page
        for inner, command in getattr(tree._load(name), "commands", {}).items():
            assert command.hidden or f"`{name} {inner}`" in page, (name, inner)


def test_every_endpoint_is_described() -> None:
    page = (DOCS / "api.md").read_text(encoding="utf-8")
    paths = create_app(cast(Platform, object())).openapi()["paths"]
    for path, methods in paths.items():
        for method in methods:
            assert f"`{method.upper()} {path}`" in page, (method, path)
