# ruff: noqa: N802  # the methods are named as in the .proto file
"""The audit log."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import cast

from aetherium.domain.errors import InvalidInput
from aetherium.gateway.access import Platform
from aetherium.gateway.grpc.calls import Context, Service
from aetherium.gateway.grpc.lists import limit_of
from aetherium.gateway.grpc.values import moment_of, to_message, to_messages
from aetherium.interfaces.audit import AuditFilter
from aetherium.protocol.generated import audit_pb2 as pb
from aetherium.protocol.generated.audit_pb2_grpc import AuditServiceServicer

# What a database has as a number.
_LARGEST = (1 << 63) - 1


class AuditCalls(Service, AuditServiceServicer):
    """See audit.proto."""

    async def List(
        self, request: pb.AuditServiceListRequest, context: Context
    ) -> pb.AuditServiceListResponse:
        platform = await self._platform_of(context)
        limit, where = limit_of(request), await _where(platform, request)
        found = await platform.audit.list(limit=limit + 1, before=_before(request.cursor), **where)
        shown = found[:limit]
        return pb.AuditServiceListResponse(
            entries=to_messages(pb.AuditEntry, shown),
            next_cursor=str(shown[-1].seq) if len(found) > limit else "",
        )

    async def Export(
        self, request: pb.AuditServiceExportRequest, context: Context
    ) -> AsyncIterator[pb.AuditServiceExportResponse]:
        platform = await self._platform_of(context)
        async with platform.audit.export() as lines:
            async for line in lines:
                yield pb.AuditServiceExportResponse(line=json.dumps(line))

    async def Verify(
        self, request: pb.AuditServiceVerifyRequest, context: Context
    ) -> pb.AuditServiceVerifyResponse:
        platform = await self._platform_of(context)
        found = await platform.audit.verify(dict(request.known))
        return pb.AuditServiceVerifyResponse(verification=to_message(pb.AuditVerification, found))

    async def GetKey(
        self, request: pb.AuditServiceGetKeyRequest, context: Context
    ) -> pb.AuditServiceGetKeyResponse:
        platform = await self._platform_of(context)
        return pb.AuditServiceGetKeyResponse(key=await platform.audit.key())


async def _where(platform: Platform, request: pb.AuditServiceListRequest) -> AuditFilter:
    given = {
        "actor": request.actor,
        "action": request.action,
        "resource": request.resource,
        "outcome": request.outcome,
        "project_id": await platform.projects.id_of(request.project) if request.project else "",
        "since": moment_of(request, "since"),
        "until": moment_of(request, "until"),
    }
    return cast(AuditFilter, {name: value for name, value in given.items() if value})


def _before(cursor: str) -> int | None:
    if not cursor:
        return None
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 20 and int(cursor) <= _LARGEST):
        raise InvalidInput(
            f"The cursor {cursor!r} is none of this list.",
            hint="Give back the next_cursor of the page before.",
            field="cursor",
        )
    return int(cursor)
