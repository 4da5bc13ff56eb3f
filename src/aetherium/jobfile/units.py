"""Durations and sizes as people write them."""

from __future__ import annotations

import re

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kKMGT]?)(i?)(B?)")
_LONGEST = 365 * 86400.0


def seconds(value: object) -> float:
    """A duration: a number of seconds, or text such as ``90s``, ``10m``, ``1h30m``. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("give a duration such as 90s, 10m or 1h30m")  # noqa: TRY004 - pydantic takes no TypeError
    total = float(value) if not isinstance(value, str) else _parsed(value)
    if not 0 < total <= _LONGEST:  # NaN as well
        raise ValueError(f"{value!r} is out of range: give more than 0 and at most 365d")
    return total


def _parsed(text: str) -> float:
    compact = text.strip()
    parts = _DURATION.findall(compact)
    if parts and not _DURATION.sub("", compact).strip():
        return float(sum(float(number) * _SECONDS[unit] for number, unit in parts))
    if re.fullmatch(r"\d+(\.\d+)?", compact):
        return float(compact)
    raise ValueError(f"{text!r} is not a duration: write it as 90s, 10m or 1h30m")


def size_bytes(value: object) -> int:
    """A size: a number of bytes, or text such as ``512MiB``, ``2G`` (powers of 1024) or ``5MB`` (of 1000).
    Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError("give a size such as 512MiB or 2G")  # noqa: TRY004 - pydantic takes no TypeError
    if isinstance(value, int):
        total = float(value)
    else:
        match = _SIZE.fullmatch(value.strip())
        if match is None:
            raise ValueError(f"{value!r} is not a size: write it as 512MiB or 2G")
        number, prefix, binary, unit = match.groups()
        base = 1000 if unit and not binary else 1024
        total = float(number) * base ** " KMGT".index(prefix.upper() or " ")
    if not 0 <= total < 1 << 60:
        raise ValueError(f"{value!r} is out of range")
    return int(total)


def mebibytes(value: object) -> int:
    """A size in MiB, for which a bare number is refused: nobody could tell its unit. Raises ValueError."""
    if isinstance(value, int | float) or (isinstance(value, str) and value.strip().isdigit()):
        raise ValueError(f"the size {value!r} has no unit: write {value}MiB or 2G")
    size = size_bytes(value)
    if size % (1 << 20):
        raise ValueError(f"{value!r} is not a whole number of MiB")
    return size >> 20
