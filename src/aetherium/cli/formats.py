"""Values as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

_UNITS = (("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10))


def size(count: int) -> str:
    """Bytes: ``1.5G``."""
    for unit, factor in _UNITS:
        if count >= factor:
            number = count / factor
            return f"{number:.1f}{unit}" if number < 10 else f"{number:.0f}{unit}"
    return f"{count}B"


def duration(seconds: float) -> str:
    """Seconds: ``0.4s``, ``12s``, ``3m 20s``, ``2h 5m``, ``3d 4h``."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60}m"
    return f"{whole // 86400}d {whole % 86400 // 3600}h"


def age(moment: datetime | None) -> str:
    """How long ago: ``3m``; empty for None."""
    if moment is None:
        return ""
    whole = max(0, round((datetime.now(UTC) - moment.astimezone(UTC)).total_seconds()))
    for unit, factor in (("d", 86400), ("h", 3600), ("m", 60)):
        if whole >= factor:
            return f"{whole // factor}{unit}"
    return f"{whole}s"


def moment(value: datetime | None) -> str:
    """A point in time in the local zone."""
    return "" if value is None else value.astimezone().isoformat(sep=" ", timespec="seconds")


def digest(value: str) -> str:
    """A digest, short enough to read and long enough to use."""
    return value.removeprefix("sha256:")[:12]


def pairs(values: Mapping[str, str]) -> str:
    """``a=1, b=2``."""
    return ", ".join(f"{key}={value}" for key, value in sorted(values.items()))


def safe(text: str) -> str:
    """Text that came from a guest, without control characters: it cannot drive the terminal that shows it."""
    return "".join(char if char.isprintable() or char in "\n\t" else "�" for char in text)
