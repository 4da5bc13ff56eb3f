"""The published schema, and the units."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aetherium import jobfile
from aetherium.jobfile.units import mebibytes, seconds, size_bytes

ROOT = Path(__file__).parents[3]


def test_the_published_schema_is_the_generated_one() -> None:
    published = json.loads((ROOT / "docs" / "job.schema.json").read_text())
    assert published == jobfile.schema(), "write it again: python -m aetherium.jobfile > docs/job.schema.json"


def test_the_examples_are_valid() -> None:
    examples = sorted((ROOT / "examples" / "jobs").glob("*.yaml"))
    assert examples
    for path in examples:
        assert jobfile.load(path).steps


def test_every_key_is_documented() -> None:
    text = (ROOT / "docs" / "jobs.md").read_text()
    schema = jobfile.schema()
    keys = {*schema["properties"]}
    for definition in schema["$defs"].values():
        keys |= {*definition.get("properties", ())}
    assert {key for key in keys if f"`{key}`" not in text} == set()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (5, 5.0),
        (0.5, 0.5),
        ("90s", 90.0),
        ("10m", 600.0),
        ("1h30m", 5400.0),
        ("250ms", 0.25),
        ("7", 7.0),
        ("1d", 86400.0),
    ],
)
def test_durations(text: object, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "m", "5x", "-5s", "5s x", True, None, [], "1e5", float("inf"), "400d"])
def test_wrong_durations(text: object) -> None:
    with pytest.raises(ValueError):
        seconds(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (5, 5),
        ("5", 5),
        ("5B", 5),
        ("1K", 1024),
        ("1KiB", 1024),
        ("1KB", 1000),
        ("2G", 2 << 30),
        ("1.5 MiB", 3 << 19),
    ],
)
def test_sizes(text: object, value: int) -> None:
    assert size_bytes(text) == value


@pytest.mark.parametrize("text", ["", "G", "5X", "-5", -5, True, None, "1e5", "9999999T"])
def test_wrong_sizes(text: object) -> None:
    with pytest.raises(ValueError):
        size_bytes(text)


@pytest.mark.parametrize("text", [512, "512", "1500KiB"])
def test_memory_needs_a_unit(text: object) -> None:
    with pytest.raises(ValueError):
        mebibytes(text)
