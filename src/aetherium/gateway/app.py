"""The ASGI application: routes, errors, health."""

from __future__ import annotations

import asyncio

from fastapi import FastAPI
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aetherium import __version__
from aetherium.domain.errors import Unavailable
from aetherium.gateway import docs, openapi, problems
from aetherium.gateway.access import Known, Services
from aetherium.gateway.auth import Authentication
from aetherium.gateway.bounds import Bodies, Deadlines
from aetherium.gateway.headers import AnswerHeaders
from aetherium.gateway.origins import Origins, sharing
from aetherium.gateway.rest import (
    api_keys,
    audit,
    dead_letters,
    events,
    executions,
    files,
    health,
    images,
    interactive,
    jobs,
    members,
    projects,
    queues,
    schedules,
    secrets,
    snapshots,
    tasks,
    uploads,
    vms,
    whoami,
    workers,
)
from aetherium.gateway.rest.part import API
from aetherium.gateway.streams import Drain, error_document

# In the order of the documentation.
_PARTS = (
    vms,
    executions,
    interactive,
    files,
    snapshots,
    images,
    jobs,
    uploads,
    tasks,
    dead_letters,
    schedules,
    queues,
    workers,
    projects,
    api_keys,
    members,
    whoami,
    secrets,
    events,
    audit,
)
_DESCRIPTION = """Runs untrusted jobs and agents in isolated microVMs.

Errors are problem documents (RFC 9457) with a stable `code` and a `hint`. Streams are NDJSON: one JSON
value per line; an error after the first line comes as a last line `{"error": …}`. Those that can be
followed come as Server-Sent Events for `Accept: text/event-stream`, and go on behind the `Last-Event-ID`.
Bytes are `{"text": …}` where they are UTF-8 and `{"base64": …}` otherwise.

Terminals and stdin go over WebSockets: `/v1/vms/{ref}/terminal`, `/v1/executions/{execution_id}/attach`."""


def create_app(services: Services, drain: Drain | None = None) -> FastAPI:
    """The application over `services`; `drain` ends its streams at shutdown."""
    app = FastAPI(
        title="Aetherium",
        version=__version__,
        description=_DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=openapi.operation_id,
    )
    app.state.services = services
    app.state.known = Known()
    app.state.drain = drain or Drain()
    problems.install(app)
    openapi.install(app)
    app.include_router(docs.router)
    app.include_router(health.router)
    for module in _PARTS:
        app.include_router(module.router, prefix=API)
    # From the inside out.
    app.add_middleware(Authentication, services=services)
    app.add_middleware(Deadlines, services=services)
    app.add_middleware(Origins, services=services)
    app.add_middleware(Unforeseen)
    app.add_middleware(Bodies, services=services)
    app.add_middleware(sharing, services=services)
    app.add_middleware(AnswerHeaders)
    return app


_STARTS = ("http.response.start", "websocket.accept", "websocket.close", "websocket.http.response.start")


class Unforeseen:
    """Turns what no handler has foreseen into a problem document and a line in the log; and what is refused
    before it reaches one. A WebSocket is then not opened."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        started = False

        async def note(message: Message) -> None:
            nonlocal started
            started = started or message["type"] in _STARTS
            await send(message)

        try:
            await self._app(scope, receive, note)
        except asyncio.CancelledError:  # the server ends, and its requests have had their time
            if started:
                raise
            error = Unavailable("The gateway is shutting down.", hint="Try again.")
            await problems.problem_response(problems.document(error))(scope, receive, send)
        except Exception as error:  # the boundary of a request: logged and reported
            if any(isinstance(leaf, ClientDisconnect) for leaf in problems.leaves(error)):
                return  # nobody is there to be told
            if started:
                raise  # the body is cut, which tells the client that it is not whole
            await problems.problem_response(error_document(error))(scope, receive, send)
