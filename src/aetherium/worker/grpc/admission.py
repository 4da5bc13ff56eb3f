"""Who may call a worker: who brings the cluster's token and, with TLS, a certificate of the right kind."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import grpc
from grpc.aio import ServicerContext

from aetherium.rpc.auth import allows
from aetherium.rpc.authority import Kind
from aetherium.rpc.guard import Admit
from aetherium.rpc.tls import peer_kind

Context = ServicerContext[Any, Any]

# Gateways, and workers that fetch from this one.
PEERS = frozenset({Kind.GATEWAY, Kind.WORKER})


def admission(token: str, kinds: Collection[Kind] | None) -> Admit:
    """Lets calls in that bring `token`, from whoever has shown a certificate of one of `kinds`.

    Args:
        kinds: None: the connection is within this host, and without TLS.
    """

    async def admit(context: Context) -> None:
        if not allows(token, context.invocation_metadata() or ()):
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "The call has no valid token.")
        if kinds is not None and (kind := peer_kind(context)) not in kinds:
            shown = "of no kind" if kind is None else f"of a {kind}"
            wanted = " or ".join(sorted(kinds))
            await context.abort(
                grpc.StatusCode.PERMISSION_DENIED, f"The certificate is {shown}; it has to be of a {wanted}."
            )

    return admit
