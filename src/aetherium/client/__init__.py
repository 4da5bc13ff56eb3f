"""The typed Python SDK: `AsyncClient`, and `Client` for programs without an event loop.

::

    async with AsyncClient.http(url, api_key=key) as client:
        async with client.vms.create(image="base") as vm:
            print((await vm.run("uname -a")).check().stdout)

Calls return the values of aetherium.domain, those of VMs with methods, and raise the errors of
aetherium.domain.errors.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aetherium.client.aio import AsyncClient
    from aetherium.client.commands import CommandFailed, Result
    from aetherium.client.retries import RetryPolicy
    from aetherium.client.sync import Client

__all__ = ["AsyncClient", "Client", "CommandFailed", "Result", "RetryPolicy"]

# Late, so that a command that needs one of them does not pay for the others.
_PLACES = {
    "AsyncClient": "aetherium.client.aio",
    "Client": "aetherium.client.sync",
    "CommandFailed": "aetherium.client.commands",
    "Result": "aetherium.client.commands",
    "RetryPolicy": "aetherium.client.retries",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)
