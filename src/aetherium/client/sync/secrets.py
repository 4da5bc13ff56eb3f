"""Stored secrets."""

from __future__ import annotations

from collections.abc import Sequence

from aetherium.client.sync.loop import Part
from aetherium.domain.secrets import KeyRotation, Secret, SecretScope


class Secrets(Part):
    """``client.secrets``; see aetherium.client.secrets."""

    def set(
        self, name: str, value: str, *, scope: SecretScope = SecretScope.PROJECT, target: str = ""
    ) -> Secret:
        """Make it, or rotate it."""
        return self._loop.run(self._client.secrets.set(name, value, scope=scope, target=target))

    def list(self) -> Sequence[Secret]:
        """All of the project, by name."""
        return self._loop.run(self._client.secrets.list())

    def get(self, name: str, *, scope: SecretScope = SecretScope.PROJECT, target: str = "") -> Secret:
        """What is known of one."""
        return self._loop.run(self._client.secrets.get(name, scope=scope, target=target))

    def delete(self, name: str, *, scope: SecretScope = SecretScope.PROJECT, target: str = "") -> None:
        """Delete it with all its versions."""
        self._loop.run(self._client.secrets.delete(name, scope=scope, target=target))

    def rotate_key(self, *, master: bool = False) -> KeyRotation:
        """Wrap the data keys of all secrets under a new key."""
        return self._loop.run(self._client.secrets.rotate_key(master=master))
