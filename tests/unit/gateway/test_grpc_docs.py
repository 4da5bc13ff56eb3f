"""The page on gRPC names every service, every call and every code."""

from __future__ import annotations

import re
from pathlib import Path

from google.protobuf.descriptor_pool import Default

from aetherium.gateway.grpc.server import SERVICES
from aetherium.rpc.errors import STATUS

PAGE = (Path(__file__).parents[3] / "docs" / "grpc.md").read_text(encoding="utf-8")


def test_every_call_is_named() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| ((?:`\w+`(?:, )?)+) \|$", PAGE, flags=re.MULTILINE))
    for name in SERVICES:
        service = Default().FindServiceByName(name)
        assert re.findall(r"\w+", rows[service.name]) == [method.name for method in service.methods]


def test_every_code_is_named_with_its_status() -> None:
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| (.*) \|$", PAGE, flags=re.MULTILINE))
    for kind, status in STATUS.items():
        assert kind.code in re.findall(r"\w+", rows[status.name]), kind.code
