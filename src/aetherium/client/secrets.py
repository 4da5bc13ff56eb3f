"""Stored secrets."""

from __future__ import annotations

from collections.abc import Sequence

from aetherium.client import values
from aetherium.client.paging import collect
from aetherium.client.transport import Params, Transport, quoted
from aetherium.domain.secrets import KeyRotation, Secret, SecretScope


class Secrets:
    """``client.secrets``. Values go in and never come out."""

    def __init__(self, transport: Transport) -> None:
        self._http = transport

    async def set(
        self, name: str, value: str, *, scope: SecretScope = SecretScope.PROJECT, target: str = ""
    ) -> Secret:
        """Make it, or rotate it: the value gets the next version.

        Args:
            target: the image's tag or digest, or the job's name, that it is for.
        """
        found = await self._http.call("PUT", _path(name), params=_place(scope, target), body={"value": value})
        return values.load(Secret, found)

    async def list(self) -> Sequence[Secret]:
        """All of the project, by name."""
        return await collect(self._http, "/v1/secrets", Secret)

    async def get(self, name: str, *, scope: SecretScope = SecretScope.PROJECT, target: str = "") -> Secret:
        """What is known of one."""
        return values.load(Secret, await self._http.call("GET", _path(name), params=_place(scope, target)))

    async def delete(self, name: str, *, scope: SecretScope = SecretScope.PROJECT, target: str = "") -> None:
        """Delete it with all its versions; executions that were given it keep it."""
        await self._http.call("DELETE", _path(name), params=_place(scope, target))

    async def rotate_key(self, *, master: bool = False) -> KeyRotation:
        """Wrap the data keys of all secrets under a new key; with `master` only wrap the keys under the
        present master key, after it was replaced."""
        body = {"master": master}
        return values.load(KeyRotation, await self._http.call("POST", "/v1/secrets/rotate-key", body=body))


def _path(name: str) -> str:
    return f"/v1/secrets/{quoted(name)}"


def _place(scope: SecretScope, target: str) -> Params:
    return {"scope": str(scope), "target": target}
