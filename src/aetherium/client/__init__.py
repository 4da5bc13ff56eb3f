"""The typed Python SDK: `AsyncClient`, and `Client` for programs without an event loop.

::

    async with AsyncClient.unix(path) as client:
        vm = await client.vms.create(VMSpec(image="base"))
        execution, stdout, stderr = await client.executions.run(vm.id, ExecutionSpec(("uname", "-a")))

Calls return the values of aetherium.domain and raise the errors of aetherium.domain.errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aetherium.client.aio import AsyncClient
    from aetherium.client.sync import Client

__all__ = ["AsyncClient", "Client"]


def __getattr__(name: str) -> Any:
    # Late, so that a command that needs one of them does not pay for the other.
    if name == "AsyncClient":
        from aetherium.client.aio import AsyncClient

        return AsyncClient
    if name == "Client":
        from aetherium.client.sync import Client

        return Client
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
