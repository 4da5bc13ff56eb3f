"""Around every call: is the caller let in, and how are errors told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeAlias

import grpc
from grpc.aio import AbortError, ServerInterceptor, ServicerContext

from aetherium.rpc.changes import Changes
from aetherium.rpc.convert import readable
from aetherium.rpc.errors import DETAILS_KEY, as_ours, describe, status_of

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # generic in the stubs only
Context = ServicerContext[Any, Any]
# Aborts the call of whoever is not let in.
Admit = Callable[[Context], Awaitable[None]]

# Whoever looks after processes asks for their health, and knows no secret of them.
_OPEN = "/grpc.health.v1.Health/"
# The whole message goes with the details; this is for people who look at traffic.
_STATUS_TEXT = 200


class Guard(ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs only
    """Refuses calls of others, turns errors into statuses, and knows whether calls go on."""

    def __init__(self, admit: Admit) -> None:
        self._admit = admit
        self._calls = 0
        self._changes = Changes()

    async def quiet(self) -> None:
        """Wait until no call goes on. A server that has stopped has cancelled its calls, and not waited for
        their ends."""
        await self._changes.until(lambda: not self._calls)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """See ServerInterceptor."""
        handler = await continuation(handler_call_details)
        # None, whatever the stubs say: there is no such method.
        if handler is None or handler_call_details.method.startswith(_OPEN):
            return handler
        return _rebuilt(handler, self._guarded(handler))

    def _guarded(self, handler: Handler) -> Callable[[Any, Context], Any]:
        inner = _behaviour(handler)

        async def one(request: Any, context: Context) -> Any:
            async with self._call(context):
                return await inner(request, context)

        async def several(request: Any, context: Context) -> AsyncIterator[Any]:
            async with self._call(context), aclosing(inner(request, context)) as responses:
                async for response in responses:
                    yield response

        return several if handler.response_streaming else one

    @asynccontextmanager
    async def _call(self, context: Context) -> AsyncIterator[None]:
        self._calls += 1
        try:
            await self._admit(context)
            yield
        except Exception as error:  # the boundary of a call: told to the caller, or to the log
            await _tell(error, context)
        finally:
            self._calls -= 1
            self._changes.tell()


async def _tell(error: Exception, context: Context) -> None:
    if isinstance(error, AbortError):
        raise error
    ours = as_ours(error)
    await context.abort(
        status_of(ours),
        readable(ours.message[:_STATUS_TEXT]),
        ((DETAILS_KEY, describe(ours).SerializeToString()),),
    )


def _behaviour(handler: Handler) -> Callable[[Any, Context], Any]:
    kinds: tuple[Any, ...] = (
        handler.unary_unary,
        handler.unary_stream,
        handler.stream_unary,
        handler.stream_stream,
    )
    found: Callable[[Any, Context], Any] = next(kind for kind in kinds if kind is not None)
    return found


def _rebuilt(handler: Handler, behaviour: Callable[[Any, Context], Any]) -> Handler:
    make: dict[tuple[bool, bool], Callable[..., Handler]] = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }
    return make[handler.request_streaming, handler.response_streaming](
        behaviour, handler.request_deserializer, handler.response_serializer
    )
