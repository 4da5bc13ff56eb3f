"""What the services share: whose platform a call stands on, calls that come again, and pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from google.protobuf.message import Message
from grpc.aio import ServicerContext

from aetherium.domain.errors import InvalidInput
from aetherium.gateway.access import Platform, Services
from aetherium.gateway.grpc.once import once_of
from aetherium.gateway.once import Once

Context = ServicerContext[Any, Any]

_LIMIT = 100
_MOST = 1000


class _HasId(Protocol):
    @property
    def id(self) -> str: ...


T = TypeVar("T", bound=_HasId)


class PlatformOf(Protocol):
    """Whose platform a call stands on."""

    @property
    def services(self) -> Services:
        """What they all stand on."""
        ...

    async def __call__(self, context: Context) -> Platform:
        """The services as the caller has them. Raises Unauthenticated, Forbidden, NotFound (the project)."""
        ...


class Service:
    """One service of the platform.

    Args:
        platform_of: called once for each call, before anything else is done.
    """

    def __init__(self, platform_of: PlatformOf) -> None:
        self._platform_of = platform_of
        self._services = platform_of.services

    def _once(self, platform: Platform, context: Context, request: Message) -> Once:
        """A call, which may have a key. Raises InvalidInput."""
        key = metadata_of(context).get("idempotency-key", "")
        return once_of(self._services.store.idempotency, key, platform.caller, request)


def metadata_of(context: Context) -> dict[str, str]:
    """What the caller says beside the request."""
    return {key: str(value) for key, value in context.invocation_metadata() or ()}


def limit_of(given: int) -> int:
    """How many items a page has. Raises InvalidInput."""
    if not 0 <= given <= _MOST:
        raise InvalidInput(f"limit is {given}.", hint=f"Use 1 to {_MOST}.", field="limit")
    return given or _LIMIT


def page(items: Sequence[T], limit: int, cursor: str) -> tuple[Sequence[T], str]:
    """One page of `items` after the id `cursor`, and the next cursor, empty for the last page. Newest first
    means by ids, which sort by time: what was made in the same millisecond then has an order too."""
    rest = sorted((item for item in items if not cursor or item.id < cursor), key=_id_of, reverse=True)
    return rest[:limit], rest[limit - 1].id if len(rest) > limit else ""


def _id_of(item: _HasId) -> str:
    return item.id
