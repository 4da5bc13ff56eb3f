"""Domain values to messages and back, by the names of their fields.

A message has the fields of its dataclass that may be seen, with the same names: what a message does not have
stays inside (handles, owners). What a message leaves out has the dataclass's default, and so has an
unspecified enum. A ``oneof kind`` is a union of dataclasses that their own `kind` tells apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeAlias, TypeVar, cast

from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import TypeAdapter, ValidationError

from aetherium.domain.errors import InvalidInput
from aetherium.rpc.convert import readable

M = TypeVar("M", bound=Message)
V = TypeVar("V")
Field: TypeAlias = Any  # a FieldDescriptor: there are two of them, by the way in which protobuf is built

_UNION = "kind"


def to_message(kind: type[M], value: object) -> M:
    """`value`, a dataclass, as a message. Raises InvalidInput for numbers that are out of its range."""
    message = kind()
    try:
        _fill(message, value)
    except ValueError as error:
        raise InvalidInput(f"A value cannot be sent: {readable(str(error))}.") from error
    return message


def to_messages(kind: type[M], values: Iterable[object]) -> list[M]:
    """Each of `values`; see `to_message`."""
    return [to_message(kind, value) for value in values]


def from_message(message: Message, kind: type[V]) -> V:
    """The dataclass `kind` that a message means. Raises InvalidInput, with the field."""
    try:
        value: V = _adapter(cast(Any, kind)).validate_python(_given(message))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidInput(f"{where or 'The request'}: {first['msg']}.", field=where) from error
    return value


def enum_of(message: Message, field: str) -> str | None:
    """The value of an enum field as the domain writes it; None: unspecified. Raises InvalidInput."""
    number = getattr(message, field)
    return _word(message.DESCRIPTOR.fields_by_name[field], number) if number else None


def enums_of(message: Message, field: str) -> list[str]:
    """The same for a repeated field."""
    return [_word(message.DESCRIPTOR.fields_by_name[field], number) for number in getattr(message, field)]


def moment_of(message: Message, field: str) -> datetime | None:
    """The time in a field; None: not given. Raises InvalidInput."""
    if not message.HasField(field):
        return None
    return _moment(message.DESCRIPTOR.fields_by_name[field], getattr(message, field))


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


# -- to messages


def _fill(message: Message, value: Any) -> None:
    if _is_union(message):
        _fill(getattr(message, value.kind), value)
        getattr(message, value.kind).SetInParent()
        return
    for field in message.DESCRIPTOR.fields:
        given = getattr(value, field.name)
        if given is not None:
            _put(message, field, given)


def _put(message: Message, field: Field, given: Any) -> None:
    target = getattr(message, field.name)
    if _is_map(field):
        for key, each in given.items():
            _put_in_map(target, field, readable(key), each)
    elif field.is_repeated:
        for each in given:
            if field.message_type is None:
                target.append(_scalar(field, each))
            else:
                _fill(target.add(), each)
    elif field.message_type is None:
        setattr(message, field.name, _scalar(field, given))
    else:
        _put_message(target, given)


def _put_in_map(target: Any, field: Field, key: str, given: Any) -> None:
    value = field.message_type.fields_by_name["value"]
    if value.message_type is None:
        target[key] = _scalar(value, given)
    else:
        _fill(target[key], given)


def _put_message(target: Any, given: Any) -> None:
    match target:
        case Timestamp():
            target.FromDatetime(given)
        case Struct():
            target.update(_plain(given))
        case _ if isinstance(given, list | tuple | frozenset):  # a repeated field that may be missing
            items = sorted(given) if isinstance(given, frozenset) else given
            getattr(target, target.DESCRIPTOR.fields[0].name).extend(readable(each) for each in items)
        case _:
            _fill(target, given)
    target.SetInParent()


def _plain(given: Any) -> Any:
    """JSON types only, with text that can be sent."""
    if isinstance(given, Mapping):
        return {readable(str(key)): _plain(each) for key, each in given.items()}
    if isinstance(given, list | tuple):
        return [_plain(each) for each in given]
    return readable(given) if isinstance(given, str) else given


def _scalar(field: Field, given: Any) -> Any:
    if field.enum_type is not None:
        return field.enum_type.values_by_name[f"{_prefix(field)}{given.upper()}"].number
    return readable(given) if isinstance(given, str) else given


# -- from messages


def _given(message: Message) -> dict[str, Any]:
    """What a message says, in the terms of pydantic."""
    if _is_union(message):
        chosen = message.WhichOneof(_UNION)
        return {} if chosen is None else {"kind": chosen, **_given(getattr(message, chosen))}
    return {field.name: _taken(field, value) for field, value in message.ListFields()}


def _taken(field: Field, value: Any) -> Any:
    if _is_map(field):
        return {key: _item(field.message_type.fields_by_name["value"], value[key]) for key in value}
    if field.is_repeated:
        return [_item(field, each) for each in value]
    return _item(field, value)


def _item(field: Field, value: Any) -> Any:
    match value:
        case Timestamp():
            return _moment(field, value)
        case Struct():
            return _whole(json_format.MessageToDict(value))
        case Message() if _is_list(value):
            return list(getattr(value, value.DESCRIPTOR.fields[0].name))
        case Message():
            return _given(value)
    return value if field.enum_type is None else _word(field, value)


def _moment(field: Field, value: Timestamp) -> datetime:
    try:
        return value.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidInput(f"{field.name} is no time: {error}.", field=field.name) from error


def _whole(value: Any) -> Any:
    """JSON in protobuf knows no integers: numbers that are whole become some."""
    if isinstance(value, Mapping):
        return {key: _whole(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_whole(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


# -- descriptors


def _is_union(message: Message) -> bool:
    return _UNION in message.DESCRIPTOR.oneofs_by_name


def _is_map(field: Field) -> bool:
    return bool(field.message_type is not None and field.message_type.GetOptions().map_entry)


def _is_list(message: Message) -> bool:
    """A message around one repeated field, so that it can be missing."""
    fields = message.DESCRIPTOR.fields
    return len(fields) == 1 and fields[0].is_repeated


def _word(field: Field, number: int) -> str:
    known = field.enum_type.values_by_number.get(number)
    if known is None or number == 0:
        raise InvalidInput(f"{field.name} is {number}, which is unknown here.", field=field.name)
    return str(known.name).removeprefix(_prefix(field)).lower()


def _prefix(field: Field) -> str:
    """Of the names of an enum's values: the one that the unspecified one has."""
    return str(field.enum_type.values_by_number[0].name).removesuffix("UNSPECIFIED")
