"""Stored secrets: what is known of them, never their values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from aetherium.domain.secrets import KeyRotation, Secret, SecretScope
from aetherium.gateway.access.access import Access
from aetherium.gateway.access.rules import guards

if TYPE_CHECKING:
    from aetherium.services.secrets.service import SecretService


class Secrets:
    """See SecretService."""

    def __init__(self, access: Access, inner: SecretService) -> None:
        self._access = access
        self._inner = inner

    @guards("secrets:write", "secret.set")
    async def set(
        self, name: str, value: str, *, scope: SecretScope = SecretScope.PROJECT, target: str = ""
    ) -> Secret:
        return await self._inner.set(
            name,
            value,
            scope=scope,
            target=target,
            project_id=self._access.project,
            by=self._access.caller.subject,
        )

    @guards("secrets:read", "secret.list")
    async def list(self) -> Sequence[Secret]:
        return await self._inner.list(project_id=self._access.project)

    @guards("secrets:read", "secret.get")
    async def get(self, name: str, *, scope: SecretScope = SecretScope.PROJECT, target: str = "") -> Secret:
        return await self._inner.get(name, scope=scope, target=target, project_id=self._access.project)

    @guards("secrets:write", "secret.delete")
    async def delete(self, name: str, *, scope: SecretScope = SecretScope.PROJECT, target: str = "") -> None:
        await self._inner.delete(name, scope=scope, target=target, project_id=self._access.project)

    @guards("cluster:write", "secret.rotate_key")
    async def rotate_key(self, *, master: bool = False) -> KeyRotation:
        return await self._inner.rotate_key(master=master)
