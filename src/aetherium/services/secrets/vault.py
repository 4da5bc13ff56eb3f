"""The provider that keeps secrets in a HashiCorp Vault, in a key-value engine of version 2.

::

    MOUNT/PREFIX/PROJECT/project/NAME
    MOUNT/PREFIX/PROJECT/image/IMAGE/NAME
    MOUNT/PREFIX/PROJECT/job/JOB/NAME

each with the field ``value``. In the names of images and jobs every byte but letters, digits, ``_``, ``-``
and ``.`` stands as ``=`` and two hexadecimal digits. Secrets that people have put there with Vault's own
tools are as good. After "KV secrets engine - version 2 (API)" of Vault's documentation.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from aetherium.domain.errors import Conflict, InvalidInput, NotFound, Unavailable, Unsupported
from aetherium.domain.ids import SECRET
from aetherium.domain.secrets import (
    KeyRotation,
    OpenedSecret,
    Place,
    Secret,
    SecretRef,
    SecretScope,
    check_value,
)
from aetherium.interfaces.clock import Clock
from aetherium.interfaces.secrets import SecretProvider
from aetherium.services.secrets.database import missing
from aetherium.services.secrets.vault_http import BadRequest, VaultAccess, VaultHTTP, open_http

_VALUE, _BY = "value", "updated_by"
# Others may write between our reading of the version and our writing.
_TRIES = 5
# Beside what is escaped: a segment that begins with a dot could mean another directory.
_UNSAFE = re.compile(rb"^\.|[^A-Za-z0-9._-]")
_ESCAPED = re.compile(r"=([0-9A-F]{2})")


class VaultSecrets:
    """See interfaces/secrets.py. A secret's id is part of a hash of its path. When it was last used is not
    kept; the audit log knows.

    Args:
        mount: of the engine.
        prefix: below which everything is.
    """

    def __init__(self, http: VaultHTTP, mount: str, prefix: str, clock: Clock) -> None:
        self._http = http
        self._clock = clock
        self._mount = mount.strip("/")
        self._prefix = prefix.strip("/")

    async def set(self, ref: SecretRef, value: str, *, by: str) -> Secret:
        check_value(value)
        for _ in range(_TRIES):
            before = await self._metadata(ref)
            body = {
                "options": {"cas": int((before or {}).get("current_version", 0))},
                "data": {_VALUE: value},
            }
            path = self._path("data", ref)
            try:
                written = await self._http.ask("POST", path, body)
            except BadRequest:
                continue
            if written is None:
                raise Unavailable(f"Vault has no place {path!r}.", hint="See the setting vault_mount.")
            return await self._note_writer(ref, by)
        raise Conflict(
            f"The secret {ref} was not taken by Vault.",
            hint="Others write to it at the same time, or the mount is no key-value engine of version 2.",
        )

    async def get(self, ref: SecretRef) -> Secret:
        found = await self._known(ref)
        if found is None:
            raise NotFound("secret", str(ref), hint="See: aetherium secret list")
        return found

    async def list(self, project_id: str) -> Sequence[Secret]:
        found = []
        async for ref in self._refs(project_id):
            secret = await self._known(ref)
            if secret is not None:
                found.append(secret)
        return sorted(found, key=lambda secret: (secret.name, secret.scope, secret.target))

    async def delete(self, ref: SecretRef) -> None:
        await self.get(ref)
        await self._ask("DELETE", self._path("metadata", ref))

    async def open(self, project_id: str, names: Collection[str], place: Place) -> Mapping[str, OpenedSecret]:
        opened = {}
        for name in sorted(names):
            found = await self._narrowest(project_id, name, place)
            if found is None:
                raise missing(name, place)
            opened[name] = found
        return opened

    async def note_use(self, secrets: Collection[Secret]) -> None:
        return

    async def rotate_key(self, *, master: bool = False) -> KeyRotation:
        raise Unsupported(
            "rotate-key",
            "vault",
            message="Vault keeps the keys of its secrets itself.",
            hint="Rotate them there: vault operator rotate",
        )

    async def _narrowest(self, project_id: str, name: str, place: Place) -> OpenedSecret | None:
        for scope, target in place.targets():
            ref = SecretRef(project_id, name, scope, target)
            path = self._path("data", ref)
            found = ((await self._ask("GET", path)) or {}).get("data")
            if found is not None:
                secret = _secret(ref, path, found["metadata"]["version"], found["metadata"])
                return OpenedSecret(secret, _value(ref, found["data"]))
        return None

    async def _note_writer(self, ref: SecretRef, by: str) -> Secret:
        if by:
            await self._ask("POST", self._path("metadata", ref), {"custom_metadata": {_BY: by}})
        return await self.get(ref)

    async def _known(self, ref: SecretRef) -> Secret | None:
        """None also if its newest version was deleted, or has ended by itself."""
        metadata = await self._metadata(ref) or {}
        version = int(metadata.get("current_version", 0))
        if version == 0:
            return None
        newest = metadata["versions"][str(version)]
        end = newest["deletion_time"]
        if newest["destroyed"] or (end and datetime.fromisoformat(end) <= self._clock.now()):
            return None
        return _secret(ref, self._path("data", ref), version, metadata)

    async def _metadata(self, ref: SecretRef) -> Mapping[str, Any] | None:
        found = await self._ask("GET", self._path("metadata", ref))
        return None if found is None else found.get("data")

    async def _refs(self, project_id: str) -> AsyncIterator[SecretRef]:
        for scope in SecretScope:
            if scope is SecretScope.PROJECT:
                folders = {"": ""}
            else:
                keys = await self._keys(project_id, scope)
                folders = {key: _unescaped(key[:-1]) for key in keys if key.endswith("/")}
            for folder, target in folders.items():
                for name in await self._keys(project_id, scope, folder):
                    ref = _ref(project_id, name, scope, target)
                    if ref is not None:
                        yield ref

    async def _keys(self, *folders: str) -> Sequence[str]:
        path = "/".join(part.strip("/") for part in (self._mount, "metadata", self._prefix, *folders) if part)
        found = await self._ask("GET", f"{path}?list=true")
        return [str(key) for key in ((found or {}).get("data") or {}).get("keys") or ()]

    async def _ask(self, method: str, path: str, body: Any = None) -> Mapping[str, Any] | None:
        try:
            return await self._http.ask(method, path, body)
        except BadRequest as error:
            raise Unavailable(
                f"Vault refused a request for {path.partition('?')[0]!r}.",
                hint="See vault_mount and vault_prefix: it has to be a key-value engine of version 2.",
            ) from error

    def _path(self, kind: str, ref: SecretRef) -> str:
        folders = (self._prefix, ref.project_id, ref.scope, escaped(ref.target), ref.name)
        return "/".join(part for part in (self._mount, kind, *folders) if part)


@asynccontextmanager
async def open_vault(
    access: VaultAccess, mount: str, prefix: str, clock: Clock
) -> AsyncIterator[VaultSecrets]:
    """The provider. Raises InvalidInput."""
    async with open_http(access) as http:
        yield VaultSecrets(http, mount, prefix, clock)


def escaped(target: str) -> str:
    """As one segment of a path."""
    return _UNSAFE.sub(lambda match: b"=%02X" % match[0][0], target.encode()).decode("ascii")


def _unescaped(segment: str) -> str:
    raw = _ESCAPED.sub(lambda match: chr(int(match[1], 16)), segment)
    return raw.encode("latin-1", "replace").decode(errors="replace")


def _ref(project_id: str, name: str, scope: SecretScope, target: str) -> SecretRef | None:
    """None for what others keep there, and for folders."""
    try:
        return SecretRef(project_id, name, scope, target)
    except InvalidInput:
        return None


def _secret(ref: SecretRef, path: str, version: int, about: Mapping[str, Any]) -> Secret:
    """By the metadata of all versions, or of one, which has no later time."""
    return Secret(
        id=f"{SECRET}_{hashlib.sha256(path.encode()).hexdigest()[:16]}",
        project_id=ref.project_id,
        scope=ref.scope,
        target=ref.target,
        name=ref.name,
        version=version,
        created_at=datetime.fromisoformat(about["created_time"]),
        updated_at=datetime.fromisoformat(about.get("updated_time") or about["created_time"]),
        updated_by=str((about.get("custom_metadata") or {}).get(_BY, "")),
    )


def _value(ref: SecretRef, data: Mapping[str, Any]) -> str:
    value = data.get(_VALUE)
    if not isinstance(value, str):
        raise Unavailable(
            f"What Vault has as the secret {ref} has no text in the field {_VALUE!r}.",
            hint=f"Put it there: vault kv put PATH {_VALUE}=-",
        )
    return check_value(value)


_: type[SecretProvider] = VaultSecrets
