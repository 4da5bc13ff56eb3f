"""API keys."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from aetherium.client.api_keys import IssuedKey
from aetherium.client.sync.loop import Part
from aetherium.domain.identity import APIKey, Role


class APIKeys(Part):
    """``client.api_keys``; see aetherium.client.api_keys."""

    def create(
        self,
        name: str,
        *,
        project: str = "",
        installation: bool = False,
        role: Role | None = None,
        scopes: Collection[str] | None = None,
        expires_in_s: float | None = None,
    ) -> IssuedKey:
        """A key."""
        return self._loop.run(
            self._client.api_keys.create(
                name,
                project=project,
                installation=installation,
                role=role,
                scopes=scopes,
                expires_in_s=expires_in_s,
            )
        )

    def list(self) -> Sequence[APIKey]:
        """Newest first."""
        return self._loop.run(self._client.api_keys.list())

    def get(self, ref: str) -> APIKey:
        """One key."""
        return self._loop.run(self._client.api_keys.get(ref))

    def rotate(self, ref: str, *, grace_s: float = 86_400.0) -> IssuedKey:
        """Another key that may do the same."""
        return self._loop.run(self._client.api_keys.rotate(ref, grace_s=grace_s))

    def revoke(self, ref: str) -> APIKey:
        """It is valid no more."""
        return self._loop.run(self._client.api_keys.revoke(ref))
