# ruff: noqa: N802  # the methods are named as in the .proto file
"""Secrets. Values go in and never come out."""

from __future__ import annotations

from google.protobuf.message import Message

from aetherium.domain.secrets import SecretScope
from aetherium.gateway.grpc.calls import Context, Service
from aetherium.gateway.grpc.lists import listing_of
from aetherium.gateway.grpc.values import enum_of, to_message, to_messages
from aetherium.gateway.listing import Sort, secret_facts
from aetherium.protocol.generated import secrets_pb2 as pb
from aetherium.protocol.generated.secrets_pb2_grpc import SecretServiceServicer


class SecretCalls(Service, SecretServiceServicer):
    """See secrets.proto."""

    async def Set(self, request: pb.SecretServiceSetRequest, context: Context) -> pb.SecretServiceSetResponse:
        platform = await self._platform_of(context)
        secret = await platform.secrets.set(
            request.name, request.value, scope=_scope(request), target=request.target
        )
        return pb.SecretServiceSetResponse(secret=to_message(pb.Secret, secret))

    async def List(
        self, request: pb.SecretServiceListRequest, context: Context
    ) -> pb.SecretServiceListResponse:
        platform = await self._platform_of(context)
        scope = enum_of(request, "scope")
        found = [secret for secret in await platform.secrets.list() if scope in (None, secret.scope)]
        page = listing_of(request).page(found, secret_facts, name=request.name, default=Sort.NAME)
        return pb.SecretServiceListResponse(
            secrets=to_messages(pb.Secret, page.items), next_cursor=page.cursor
        )

    async def Get(self, request: pb.SecretServiceGetRequest, context: Context) -> pb.SecretServiceGetResponse:
        platform = await self._platform_of(context)
        found = await platform.secrets.get(request.name, scope=_scope(request), target=request.target)
        return pb.SecretServiceGetResponse(secret=to_message(pb.Secret, found))

    async def Delete(
        self, request: pb.SecretServiceDeleteRequest, context: Context
    ) -> pb.SecretServiceDeleteResponse:
        platform = await self._platform_of(context)
        await platform.secrets.delete(request.name, scope=_scope(request), target=request.target)
        return pb.SecretServiceDeleteResponse()

    async def RotateKey(
        self, request: pb.SecretServiceRotateKeyRequest, context: Context
    ) -> pb.SecretServiceRotateKeyResponse:
        platform = await self._platform_of(context)
        done = await platform.secrets.rotate_key(master=request.master)
        return pb.SecretServiceRotateKeyResponse(rotation=to_message(pb.KeyRotation, done))


def _scope(request: Message) -> SecretScope:
    return SecretScope(enum_of(request, "scope") or SecretScope.PROJECT)
