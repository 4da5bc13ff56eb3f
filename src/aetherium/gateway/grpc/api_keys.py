# ruff: noqa: N802  # the methods are named as in the .proto file
"""API keys."""

from __future__ import annotations

from aetherium.domain.identity import Role
from aetherium.gateway.grpc.calls import Context, Service
from aetherium.gateway.grpc.lists import listing_of
from aetherium.gateway.grpc.values import enum_of, to_message, to_messages
from aetherium.gateway.listing import named_facts
from aetherium.protocol.generated import api_keys_pb2 as pb
from aetherium.protocol.generated.api_keys_pb2_grpc import KeyServiceServicer
from aetherium.services.identity.keys import GRACE_S


class KeyCalls(Service, KeyServiceServicer):
    """See api_keys.proto."""

    async def List(self, request: pb.KeyServiceListRequest, context: Context) -> pb.KeyServiceListResponse:
        platform = await self._platform_of(context)
        revoked = request.revoked if request.HasField("revoked") else None
        found = [key for key in await platform.keys.list() if revoked in (None, key.revoked_at is not None)]
        page = listing_of(request).page(found, named_facts, name=request.name)
        return pb.KeyServiceListResponse(keys=to_messages(pb.APIKey, page.items), next_cursor=page.cursor)

    async def Get(self, request: pb.KeyServiceGetRequest, context: Context) -> pb.KeyServiceGetResponse:
        platform = await self._platform_of(context)
        found = await platform.keys.get(request.ref)
        return pb.KeyServiceGetResponse(key=to_message(pb.APIKey, found))

    async def Create(
        self, request: pb.KeyServiceCreateRequest, context: Context
    ) -> pb.KeyServiceCreateResponse:
        platform = await self._platform_of(context)
        default = Role.ADMIN if request.installation else Role.OPERATOR
        made = await platform.keys.create(
            request.name,
            project=request.project,
            installation=request.installation,
            role=Role(enum_of(request, "role") or default),
            scopes=frozenset(request.scopes.scopes) if request.HasField("scopes") else None,
            expires_in_s=request.expires_in_s if request.HasField("expires_in_s") else None,
        )
        return pb.KeyServiceCreateResponse(issued=to_message(pb.IssuedKey, made))

    async def Rotate(
        self, request: pb.KeyServiceRotateRequest, context: Context
    ) -> pb.KeyServiceRotateResponse:
        platform = await self._platform_of(context)
        grace_s = request.grace_s if request.HasField("grace_s") else GRACE_S
        made = await platform.keys.rotate(request.ref, grace_s=grace_s)
        return pb.KeyServiceRotateResponse(issued=to_message(pb.IssuedKey, made))

    async def Revoke(
        self, request: pb.KeyServiceRevokeRequest, context: Context
    ) -> pb.KeyServiceRevokeResponse:
        platform = await self._platform_of(context)
        revoked = await platform.keys.revoke(request.ref)
        return pb.KeyServiceRevokeResponse(key=to_message(pb.APIKey, revoked))
