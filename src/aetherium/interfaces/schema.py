"""The schema of the database that holds the state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

# Before the first revision: no tables.
BASE = "base"


@dataclass(frozen=True, slots=True)
class Revision:
    """One step of the schema's history."""

    id: str
    text: str
    applied: bool


@dataclass(frozen=True, slots=True)
class Difference:
    """Where a live schema is not as it should be.

    Args:
        kind: ``missing``, ``unknown`` (nothing is known of it) or ``different``.
        thing: ``table``, ``column``, ``index``, ``constraint`` or ``comment``.
        name: of a column with that of its table.
        message: all of it in one sentence.
    """

    kind: str
    thing: str
    name: str
    message: str


class Schema(Protocol):
    """The schema of one database.

    A change is done as a whole or not at all; of several at once, the later ones find it done.

    All methods raise Unavailable for a database that cannot be used; all but `current` and `check` raise
    Conflict for one of a newer version.
    """

    @property
    def database(self) -> str:
        """Its path, or its URL without a password."""
        ...

    @property
    def head(self) -> str:
        """The revision that this version works with."""
        ...

    async def current(self) -> str | None:
        """The revision that it has; None without any."""
        ...

    async def history(self) -> Sequence[Revision]:
        """All revisions, oldest first."""
        ...

    async def check(self) -> Sequence[Difference]:
        """What differs from the tables that this version works with. The conditions of partial indexes are
        not looked at: databases rewrite them."""
        ...

    async def upgrade(self, to: str | None = None) -> Sequence[str]:
        """Go up to a revision, or to `head`; those that were applied, in order. Raises InvalidInput for one
        that is none or is older."""
        ...

    async def downgrade(self, to: str) -> Sequence[str]:
        """Go back to an older revision or to BASE; those that were taken back, in order. What the older
        schema has no place for is lost. Raises InvalidInput for a revision that is none or is newer."""
        ...
