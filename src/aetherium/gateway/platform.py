"""What a request stands on: the services, as its caller has them."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends
from starlette.requests import HTTPConnection

from aetherium.domain.identity import Caller
from aetherium.gateway.access import Known, Platform, Services
from aetherium.gateway.streams import Drain


# Dependencies are coroutines, here and elsewhere: FastAPI gives what is not to a thread.
async def _services(connection: HTTPConnection) -> Services:
    return cast(Services, connection.app.state.services)


async def _platform(connection: HTTPConnection) -> Platform:
    state = connection.app.state
    caller = cast(Caller, connection.scope["state"]["caller"])
    return Platform(cast(Services, state.services), caller, cast(Known, state.known))


async def _drain(connection: HTTPConnection) -> Drain:
    return cast(Drain, connection.app.state.drain)


PlatformDep = Annotated[Platform, Depends(_platform)]
# For what is said of the process to everybody.
ServicesDep = Annotated[Services, Depends(_services)]
DrainDep = Annotated[Drain, Depends(_drain)]

__all__ = ["DrainDep", "Platform", "PlatformDep", "Services", "ServicesDep"]
