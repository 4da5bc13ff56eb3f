# ruff: noqa: N802  # the methods are named as in the .proto file
"""Members, and who calls."""

from __future__ import annotations

from google.protobuf.message import Message

from aetherium.domain.errors import InvalidInput
from aetherium.domain.identity import Member, Role
from aetherium.gateway.grpc.calls import Context, Service
from aetherium.gateway.grpc.lists import listing_of
from aetherium.gateway.grpc.values import enum_of, to_message, to_messages
from aetherium.gateway.listing import Sort, member_facts
from aetherium.protocol.generated import members_pb2 as pb
from aetherium.protocol.generated.members_pb2_grpc import MemberServiceServicer


class MemberCalls(Service, MemberServiceServicer):
    """See members.proto."""

    async def List(
        self, request: pb.MemberServiceListRequest, context: Context
    ) -> pb.MemberServiceListResponse:
        platform = await self._platform_of(context)
        role = enum_of(request, "role")
        found = [
            one for one in await platform.members.list(project=request.project) if role in (None, one.role)
        ]
        page = listing_of(request).page(found, member_facts, name=request.name, default=Sort.NAME)
        return pb.MemberServiceListResponse(
            members=to_messages(pb.Member, page.items), next_cursor=page.cursor
        )

    async def Add(self, request: pb.MemberServiceAddRequest, context: Context) -> pb.MemberServiceAddResponse:
        platform = await self._platform_of(context)
        added = await platform.members.add(request.subject, _role(request), project=request.project)
        return pb.MemberServiceAddResponse(member=_member(added))

    async def SetRole(
        self, request: pb.MemberServiceSetRoleRequest, context: Context
    ) -> pb.MemberServiceSetRoleResponse:
        platform = await self._platform_of(context)
        changed = await platform.members.set_role(request.subject, _role(request), project=request.project)
        return pb.MemberServiceSetRoleResponse(member=_member(changed))

    async def Remove(
        self, request: pb.MemberServiceRemoveRequest, context: Context
    ) -> pb.MemberServiceRemoveResponse:
        platform = await self._platform_of(context)
        await platform.members.remove(request.subject, project=request.project)
        return pb.MemberServiceRemoveResponse()

    async def WhoAmI(
        self, request: pb.MemberServiceWhoAmIRequest, context: Context
    ) -> pb.MemberServiceWhoAmIResponse:
        found = await (await self._platform_of(context)).whoami()
        return to_message(pb.MemberServiceWhoAmIResponse, found)


def _member(member: Member) -> pb.Member:
    return to_message(pb.Member, member)


def _role(request: Message) -> Role:
    word = enum_of(request, "role")
    if word is None:
        raise InvalidInput("The request names no role.", hint=f"There are: {', '.join(Role)}.", field="role")
    return Role(word)
