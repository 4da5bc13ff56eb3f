"""Control values as bytes: a strict subset of MessagePack (https://github.com/msgpack/msgpack/blob/master/spec.md).

None, bool, int (64 bits), float, str, bytes, list and dict with str keys. The decoder takes untrusted bytes:
depth is bounded, nothing is allocated by a claimed length, and whatever is wrong raises PackError.
Strings carry file names, so bytes that are no UTF-8 travel as lone surrogates (PEP 383).
Imported by the agent: no imports but struct, since `json` alone would cost a tenth of its start.
"""

from struct import pack as _pack
from struct import unpack_from as _unpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_DEPTH = 8


class PackError(ValueError):
    """A value that cannot be encoded, or bytes that are no value."""


def pack(value: "Any") -> bytes:
    """`value` as bytes. Raises PackError for what the format does not hold."""
    out: list[bytes] = []
    _write(value, out, 0)
    return b"".join(out)


def pack_list(items: list[bytes]) -> bytes:
    """The list of values that are packed already."""
    return _pack(">BI", 0xDD, len(items)) + b"".join(items)


def unpack(data: bytes) -> "Any":
    """The one value in `data`. Raises PackError."""
    try:
        value, end = _read(data, 0, 0)
    except (IndexError, UnicodeDecodeError) as error:
        raise PackError(f"malformed value: {error}") from error
    if end != len(data):
        raise PackError(f"{len(data) - end} bytes after the value")
    return value


def _write(value: "Any", out: list[bytes], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise PackError("nested too deeply")
    kind = type(value)
    if value is None:
        out.append(b"\xc0")
    elif kind is bool:
        out.append(b"\xc3" if value else b"\xc2")
    elif kind is int:
        out.append(_int(value))
    elif kind is float:
        out.append(_pack(">Bd", 0xCB, value))
    elif kind is bytes:
        out.append(_pack(">BI", 0xC6, len(value)))
        out.append(value)
    elif isinstance(value, str):
        raw = value.encode("utf-8", "surrogateescape")
        out.append(_pack("B", 0xA0 | len(raw)) if len(raw) < 32 else _pack(">BI", 0xDB, len(raw)))
        out.append(raw)
    elif kind is list or kind is tuple:
        out.append(_pack(">BI", 0xDD, len(value)))
        for item in value:
            _write(item, out, depth + 1)
    elif kind is dict:
        out.append(_pack(">BI", 0xDF, len(value)))
        for key, item in value.items():
            _write(str(key), out, depth + 1)
            _write(item, out, depth + 1)
    else:
        raise PackError(f"cannot encode {kind.__name__}")


def _int(value: int) -> bytes:
    if 0 <= value < 128:
        return bytes((value,))
    if -(1 << 63) <= value < 1 << 63:
        return _pack(">Bq", 0xD3, value)
    raise PackError(f"{value} does not fit into 64 bits")


# First byte → size of the length or number that follows, and its struct code.
_STR = {0xD9: ">B", 0xDA: ">H", 0xDB: ">I"}
_BIN = {0xC4: ">B", 0xC5: ">H", 0xC6: ">I"}
_ARRAY = {0xDC: ">H", 0xDD: ">I"}
_MAP = {0xDE: ">H", 0xDF: ">I"}
_NUMBER = {
    0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q",
    0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q",
}  # fmt: skip
_SIZE = {">B": 1, ">b": 1, ">H": 2, ">h": 2, ">I": 4, ">i": 4, ">Q": 8, ">q": 8, ">d": 8}
_CONSTANT = {0xC0: None, 0xC2: False, 0xC3: True}


def _read(data: bytes, at: int, depth: int) -> "tuple[Any, int]":
    if depth > MAX_DEPTH:
        raise PackError("nested too deeply")
    first = data[at]
    at += 1
    if first < 0x80:
        return first, at
    if first >= 0xE0:
        return first - 256, at
    if first in _CONSTANT:
        return _CONSTANT[first], at
    if first in _NUMBER:
        return _number(data, at, _NUMBER[first])
    if 0xA0 <= first < 0xC0 or first in _STR:
        size, at = (first & 31, at) if first < 0xC0 else _number(data, at, _STR[first])
        raw, at = _bytes(data, at, size)
        return raw.decode("utf-8", "surrogateescape"), at
    if first in _BIN:
        size, at = _number(data, at, _BIN[first])
        return _bytes(data, at, size)
    return _container(data, at, first, depth)


def _container(data: bytes, at: int, first: int, depth: int) -> "tuple[Any, int]":
    if first < 0x90 or first in _MAP:
        size, at = (first & 15, at) if first < 0x90 else _number(data, at, _MAP[first])
        table: dict[str, Any] = {}
        for _ in range(size):
            key, at = _read(data, at, depth + 1)
            if type(key) is not str:
                raise PackError("a key is no string")
            table[key], at = _read(data, at, depth + 1)
        return table, at
    if first < 0xA0 or first in _ARRAY:
        size, at = (first & 15, at) if first < 0xA0 else _number(data, at, _ARRAY[first])
        items = []
        for _ in range(size):
            item, at = _read(data, at, depth + 1)
            items.append(item)
        return items, at
    raise PackError(f"unknown type {first:#x}")


def _number(data: bytes, at: int, code: str) -> "tuple[Any, int]":
    end = at + _SIZE[code]
    if end > len(data):
        raise PackError("cut short")
    return _unpack(code, data, at)[0], end


def _bytes(data: bytes, at: int, size: int) -> tuple[bytes, int]:
    if at + size > len(data):
        raise PackError("cut short")
    return data[at : at + size], at + size
