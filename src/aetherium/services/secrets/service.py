"""Secrets for those who keep them: set, list, look, delete, rotate keys. Values go in and never come out."""

from __future__ import annotations

from collections.abc import Sequence

from aetherium.domain.projects import DEFAULT_PROJECT
from aetherium.domain.secrets import KeyRotation, Secret, SecretRef, SecretScope
from aetherium.interfaces.secrets import SecretProvider


class SecretService:
    """See the methods. All raise Unavailable when the provider cannot be reached."""

    def __init__(self, provider: SecretProvider) -> None:
        self._provider = provider

    async def set(
        self,
        name: str,
        value: str,
        *,
        scope: SecretScope = SecretScope.PROJECT,
        target: str = "",
        project_id: str = DEFAULT_PROJECT,
        by: str = "",
    ) -> Secret:
        """Make a secret, or rotate it: the new value gets the next version, and executions that begin from
        now on are given it. Raises InvalidInput.

        Args:
            by: the subject of the Caller, for the record.
        """
        return await self._provider.set(SecretRef(project_id, name, scope, target), value, by=by)

    async def list(self, *, project_id: str = DEFAULT_PROJECT) -> Sequence[Secret]:
        """Names and what else is known, by name; no values."""
        return await self._provider.list(project_id)

    async def get(
        self,
        name: str,
        *,
        scope: SecretScope = SecretScope.PROJECT,
        target: str = "",
        project_id: str = DEFAULT_PROJECT,
    ) -> Secret:
        """What is known of one; not its value. Raises NotFound."""
        return await self._provider.get(SecretRef(project_id, name, scope, target))

    async def delete(
        self,
        name: str,
        *,
        scope: SecretScope = SecretScope.PROJECT,
        target: str = "",
        project_id: str = DEFAULT_PROJECT,
    ) -> None:
        """Delete it with all its versions; what was given to executions stays with them. Raises NotFound."""
        await self._provider.delete(SecretRef(project_id, name, scope, target))

    async def rotate_key(self, *, master: bool = False) -> KeyRotation:
        """Wrap the data keys of all projects' secrets under a new key; a rotation that was interrupted is
        gone on with. With `master`, after the master key was replaced, wrap the keys under the present one.
        Raises Unsupported if the provider keeps its own keys."""
        return await self._provider.rotate_key(master=master)
