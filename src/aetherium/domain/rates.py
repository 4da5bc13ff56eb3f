"""How many requests in how long."""

from __future__ import annotations

import re
from dataclasses import dataclass

from aetherium.domain.errors import InvalidInput

_FORM = re.compile(r"^([1-9][0-9]{0,8})/(second|minute|hour|day)$")
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `amount` in any `period_s` seconds."""

    amount: int
    period_s: int = 60

    @classmethod
    def parse(cls, text: str) -> Rate:
        """``600/minute``. Raises InvalidInput."""
        found = _FORM.fullmatch(text)
        if found is None:
            raise InvalidInput(
                f"{text!r} is no rate.", hint="Write a number and a unit of time: 10/second, 600/minute …"
            )
        return cls(int(found[1]), _SECONDS[found[2]])


@dataclass(frozen=True, slots=True)
class Window:
    """How much of a rate is used.

    Args:
        allowed: whether one more fits, or did.
        remaining: how many more fit now.
        reset_s: seconds until the oldest that counts no longer does.
    """

    rate: Rate
    allowed: bool
    remaining: int
    reset_s: float
