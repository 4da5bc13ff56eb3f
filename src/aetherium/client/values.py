"""JSON into the values of aetherium.domain, and back."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from aetherium.domain.errors import ProtocolViolation

T = TypeVar("T")


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def load(kind: type[T], value: Any) -> T:
    """`value`, JSON types, as a `kind`. Raises ProtocolViolation if it does not fit: another version?"""
    wanted: Any = kind
    adapter: Any = _adapter(wanted)
    try:
        loaded: T = adapter.validate_python(value)
    except ValidationError as error:
        raise ProtocolViolation(
            f"The gateway's answer is not a {kind.__name__}.",
            hint="Are client and gateway of the same version? See `aetherium version`.",
        ) from error
    return loaded


def load_all(kind: type[T], values: Any) -> list[T]:
    """A list of them."""
    return [load(kind, value) for value in values]


def dump(value: Any) -> Any:
    """A domain value as JSON types."""
    kind: Any = type(value)
    return _adapter(kind).dump_python(value, mode="json")


def new_key() -> str:
    """An Idempotency-Key: what is asked for with it is done once, however often the request is made."""
    return secrets.token_hex(16)


def load_bytes(value: Mapping[str, Any]) -> bytes:
    """Bytes from ``{"text": …}`` or ``{"base64": …}``."""
    if "base64" in value:
        return base64.b64decode(value["base64"])
    return str(value["text"]).encode()
