"""A check: one thing that was looked at, and what to do if it is not as it should be."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One finding of `aetherium doctor`.

    Args:
        name: what was looked at ("kvm", "handshake").
        ok: whether it is as it should be.
        detail: what was found, with the values.
        hint: what to do about it; empty if nothing needs doing.
        required: whether Aetherium cannot do its work without it; False: something is slower or missing.
        group: heading under which people see it ("host", "drivers", "images").
    """

    name: str
    ok: bool
    detail: str = ""
    hint: str = ""
    required: bool = True
    group: str = ""
