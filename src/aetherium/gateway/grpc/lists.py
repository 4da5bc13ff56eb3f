"""Lists over gRPC: what their requests say; see lists.proto and gateway/listing.py."""

from __future__ import annotations

from google.protobuf.message import Message

from aetherium.domain.errors import InvalidInput
from aetherium.gateway.grpc.values import enum_of, moment_of
from aetherium.gateway.listing import Listing, Sort

_LIMIT = 100
_MOST = 1000


def listing_of(request: Message, *, by_time: bool = False) -> Listing:
    """The page that a request asks for. Raises InvalidInput.

    Args:
        by_time: whether these have no other order.
    """
    word = enum_of(request, "sort")
    if by_time and word in ("name", "name_down"):
        raise InvalidInput(
            "These are listed by their time only.", hint="Sort by oldest or newest.", field="sort"
        )
    return Listing(
        limit_of(request),
        getattr(request, "cursor"),  # noqa: B009 - of a message, but not of every one
        None if word is None else Sort[word.upper()],
        moment_of(request, "created_after"),
        moment_of(request, "created_before"),
    )


def limit_of(request: Message) -> int:
    """How many items a page has. Raises InvalidInput."""
    given: int = getattr(request, "limit")  # noqa: B009 - as above
    if not 0 <= given <= _MOST:
        raise InvalidInput(f"limit is {given}.", hint=f"Use 1 to {_MOST}.", field="limit")
    return given or _LIMIT
