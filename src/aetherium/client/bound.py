"""Records that know where they came from, so that something can be done with them."""

from __future__ import annotations

from dataclasses import fields
from typing import Any


def fill(bound: Any, record: Any, **more: object) -> None:
    """Give `bound`, which is a frozen dataclass and more, the fields of `record`, and `more`."""
    for item in fields(record):
        object.__setattr__(bound, item.name, getattr(record, item.name))
    for name, value in more.items():
        object.__setattr__(bound, name, value)
