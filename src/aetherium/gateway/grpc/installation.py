# ruff: noqa: N802  # the methods are named as in the .proto file
"""The installation as a whole."""

from __future__ import annotations

from aetherium.gateway.grpc.calls import Context, Service
from aetherium.protocol.generated import installation_pb2 as pb
from aetherium.protocol.generated.installation_pb2_grpc import InstallationServiceServicer
from aetherium.rpc import convert


class InstallationCalls(Service, InstallationServiceServicer):
    """See installation.proto."""

    async def Examine(
        self, request: pb.InstallationServiceExamineRequest, context: Context
    ) -> pb.InstallationServiceExamineResponse:
        platform = await self._platform_of(context)
        checks = await platform.cluster.examine()
        return pb.InstallationServiceExamineResponse(checks=[convert.check_to_pb(check) for check in checks])
