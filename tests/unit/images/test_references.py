"""Sources of images."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherium.domain.errors import InvalidInput
from aetherium.images.references import parse

DIGEST = f"sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("source", "skopeo", "name"),
    [
        ("docker://alpine", "docker://alpine:latest", "alpine:latest"),
        ("docker://alpine:3.20", "docker://alpine:3.20", "alpine:3.20"),
        ("docker://ghcr.io/a/b:1", "docker://ghcr.io/a/b:1", "ghcr.io/a/b:1"),
        ("docker://a/b:1@" + DIGEST, "docker://a/b@" + DIGEST, "a/b"),
        ("docker://localhost:5000/x", "docker://localhost:5000/x:latest", ""),
    ],
)
def test_registries(source: str, skopeo: str, name: str) -> None:
    reference = parse(source)
    assert (reference.skopeo, reference.name) == (skopeo, name)


def test_layouts_and_archives(tmp_path: Path) -> None:
    layout = tmp_path / "Layout"
    layout.mkdir()
    (layout / "index.json").write_text("{}")
    assert parse(f"oci:{layout}:v1").skopeo == f"oci:{layout}:v1"
    assert parse(f"oci:{layout}:v1").name == "layout:v1"
    assert parse(f"oci:{layout}").name == "layout"
    file = tmp_path / "my.image.tar"
    file.touch()
    assert parse(f"docker-archive:{file}").name == "my"


@given(st.text(max_size=80))
def test_anything_else_is_refused_cleanly(text: str) -> None:
    for source in (text, f"docker://{text}", f"oci:{text}", f"docker-archive:{text}"):
        with suppress(InvalidInput):
            parse(source)
