# ruff: noqa: N802  # the methods are named as in the .proto file
"""Projects."""

from __future__ import annotations

from aetherium.domain.projects import Project, Quota
from aetherium.gateway.grpc.calls import Context, Service
from aetherium.gateway.grpc.lists import listing_of
from aetherium.gateway.grpc.once import answered
from aetherium.gateway.grpc.values import from_message, to_message, to_messages
from aetherium.gateway.listing import Sort, named_facts
from aetherium.protocol.generated import projects_pb2 as pb
from aetherium.protocol.generated.projects_pb2_grpc import ProjectServiceServicer


class ProjectCalls(Service, ProjectServiceServicer):
    """See projects.proto."""

    async def List(
        self, request: pb.ProjectServiceListRequest, context: Context
    ) -> pb.ProjectServiceListResponse:
        platform = await self._platform_of(context)
        found = await platform.projects.list()
        page = listing_of(request).page(found, named_facts, name=request.name, default=Sort.NAME)
        return pb.ProjectServiceListResponse(
            projects=to_messages(pb.Project, page.items), next_cursor=page.cursor
        )

    async def Get(
        self, request: pb.ProjectServiceGetRequest, context: Context
    ) -> pb.ProjectServiceGetResponse:
        platform = await self._platform_of(context)
        return pb.ProjectServiceGetResponse(project=_project(await platform.projects.get(request.ref)))

    async def Create(
        self, request: pb.ProjectServiceCreateRequest, context: Context
    ) -> pb.ProjectServiceCreateResponse:
        platform = await self._platform_of(context)
        quota = from_message(request.quota, Quota)
        once = self._once(platform, context, request)

        async def create() -> pb.ProjectServiceCreateResponse:
            made = await platform.projects.create(request.name, quota=quota, mark=once.mark)
            return pb.ProjectServiceCreateResponse(project=_project(made))

        return await answered(once, pb.ProjectServiceCreateResponse, create)

    async def SetQuota(
        self, request: pb.ProjectServiceSetQuotaRequest, context: Context
    ) -> pb.ProjectServiceSetQuotaResponse:
        platform = await self._platform_of(context)
        changed = await platform.projects.set_quota(request.ref, from_message(request.quota, Quota))
        return pb.ProjectServiceSetQuotaResponse(project=_project(changed))


def _project(project: Project) -> pb.Project:
    return to_message(pb.Project, project)
