"""Who calls: over the Unix socket, which only this user can open, whoever administers this host."""

from __future__ import annotations

from aetherium.domain.errors import Unauthenticated
from aetherium.domain.identity import LOCAL
from aetherium.gateway.access import Known, Platform, Services
from aetherium.gateway.grpc.calls import Context, PlatformOf

# The metadata entry that names the project (id or name) of a call.
PROJECT_KEY = "aetherium-project"
_UNIX = "unix:"


def local_platform(services: Services) -> PlatformOf:
    """For calls over a Unix socket; any other one is refused."""
    known = Known()

    async def platform_of(context: Context) -> Platform:
        if not context.peer().startswith(_UNIX):
            raise Unauthenticated("The call has no credentials.", hint="Use the Unix socket of this host.")
        project = project_named(context)
        if not project:
            return Platform(services, LOCAL, known)
        return Platform(services, LOCAL.within(await services.projects.id_of(project)), known)

    return platform_of


def project_named(context: Context) -> str:
    """The project that a call names; empty: none."""
    given = [value for key, value in context.invocation_metadata() or () if key == PROJECT_KEY]
    return str(given[0]) if given else ""
