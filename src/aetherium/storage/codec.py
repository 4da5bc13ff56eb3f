"""Domain values as JSON and back."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter

from aetherium.domain.executions import ExecutionSpec

T = TypeVar("T")


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    """Made on first use: building one takes some milliseconds."""
    return TypeAdapter(kind)


def dump(value: T) -> dict[str, Any]:
    """JSON types only. Secret values do not get into it."""
    exclude = {"secret_env"} if isinstance(value, ExecutionSpec) else None
    kind: Any = type(value)
    return cast(dict[str, Any], _adapter(kind).dump_python(value, mode="json", exclude=exclude))


def load(kind: type[T], value: object) -> T:
    """The inverse of `dump`."""
    key: Any = kind
    return cast(T, _adapter(key).validate_python(value))
