"""What the services share: whose platform a call stands on, and calls that come again."""

from __future__ import annotations

from typing import Any, Protocol

from google.protobuf.message import Message
from grpc.aio import ServicerContext

from aetherium.gateway.access import Platform, Services
from aetherium.gateway.grpc.once import once_of
from aetherium.gateway.once import Once, unnamed

Context = ServicerContext[Any, Any]


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
        return once_of(unnamed(self._services), key, platform.caller, request)


def metadata_of(context: Context) -> dict[str, str]:
    """What the caller says beside the request."""
    return {key: str(value) for key, value in context.invocation_metadata() or ()}
