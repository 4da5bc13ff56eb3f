"""JSON forms: domain values as they go over HTTP, without what must not leave the process."""

from __future__ import annotations

import base64
import dataclasses
import typing
from collections.abc import Mapping
from functools import cache
from types import UnionType
from typing import Any

from pydantic import BeforeValidator, TypeAdapter
from starlette.responses import Response

from aetherium.domain.errors import InvalidInput
from aetherium.gateway.problems import nearest

# What stays inside: drivers' handles (paths and pids of the host), owners, secret values.
HIDDEN: Mapping[str, Any] = {
    "VM": {"handle", "owner"},
    "Snapshot": {"driver_data"},
    "Execution": {"spec": {"secret_env"}},
    "Job": {"owner"},
}


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def dump(value: Any) -> Any:
    """A domain value, or a sequence of them, as JSON types."""
    if isinstance(value, list | tuple):
        return [dump(item) for item in value]
    kind: Any = type(value)
    return _adapter(kind).dump_python(value, mode="json", exclude=HIDDEN.get(kind.__name__))


def dump_json(value: Any) -> bytes:
    """A domain value as JSON."""
    kind: Any = type(value)
    return _adapter(kind).dump_json(value, exclude=HIDDEN.get(kind.__name__))


def encode(value: Any) -> bytes:
    """A domain value, or a sequence of them, as JSON."""
    if isinstance(value, list | tuple):
        return b"[%s]" % b",".join(map(dump_json, value))
    return dump_json(value)


def reply(value: Any, status: int = 200) -> Response:
    """A domain value as the whole answer."""
    return Response(dump_json(value), status_code=status, media_type="application/json")


def encode_bytes(data: bytes) -> dict[str, str]:
    """Bytes as JSON: ``{"text": …}`` where they are UTF-8, ``{"base64": …}`` otherwise."""
    try:
        return {"text": data.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def refusing_unknown_keys(kind: type[Any]) -> BeforeValidator:
    """For a request body: a key that `kind` does not have is an error that names the nearest one."""

    def check(value: Any) -> Any:
        _refuse_unknown(kind, value, "")
        return value

    return BeforeValidator(check)


def _refuse_unknown(kind: Any, value: Any, where: str) -> None:
    if isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _refuse_unknown(_element(kind), item, f"{where}[{index}]")
        return
    fields = _fields(kind)
    if not isinstance(value, Mapping) or not fields:
        return
    for key, inner in value.items():
        if key not in fields:
            best = nearest(str(key), tuple(fields))
            raise InvalidInput(
                f"Unknown key {str(key)!r}{f' in {where}' if where else ''}.",
                hint=f"Did you mean {best!r}?" if best else f"Known keys: {', '.join(sorted(fields))}.",
                field=f"{where}.{key}".lstrip("."),
            )
        _refuse_unknown(fields[key], inner, f"{where}.{key}".lstrip("."))


def _element(kind: Any) -> Any:
    for option in _options(kind):
        arguments = typing.get_args(option)
        if arguments:
            return arguments[0]
    return None


def _options(kind: Any) -> tuple[Any, ...]:
    if isinstance(kind, UnionType) or typing.get_origin(kind) is typing.Union:
        return typing.get_args(kind)
    return (kind,)


@cache
def _fields(kind: Any) -> dict[str, Any]:
    """The fields of a dataclass, or of all dataclasses in a union; empty for anything else."""
    fields: dict[str, Any] = {}
    for option in _options(kind):
        if isinstance(option, type) and dataclasses.is_dataclass(option):
            hints = typing.get_type_hints(option)
            fields.update({field.name: hints[field.name] for field in dataclasses.fields(option)})
    return fields
