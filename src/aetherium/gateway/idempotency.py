"""The header ``Idempotency-Key``; see once.py."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from fastapi import Depends, Request

from aetherium.domain.projects import DEFAULT_PROJECT
from aetherium.gateway.once import Once, unnamed
from aetherium.gateway.platform import PlatformDep, ServicesDep
from aetherium.gateway.rest.bodies import Key
from aetherium.interfaces.idempotency import RequestKey


async def _once(request: Request, services: ServicesDep, platform: PlatformDep, key: Key = "") -> Once:
    once = unnamed(services)
    if not key:
        return once
    caller = platform.caller
    name = RequestKey(caller.project_id or DEFAULT_PROJECT, key, request.scope["route"].unique_id)
    asked = (caller.subject, request.url.path, request.url.query, _canonical(await request.body()))
    return replace(once, request=name, fingerprint=hashlib.sha256(json.dumps(asked).encode()).hexdigest())


def _canonical(body: bytes) -> Any:
    """What a body asks for, however it is written. Without the values of secrets: whoever reads the database
    could try them out on the fingerprint."""
    value = json.loads(body) if body else None
    secret = value.get("secret_env") if isinstance(value, dict) else None
    if isinstance(value, dict) and isinstance(secret, Mapping):
        value["secret_env"] = sorted(secret)
    return json.dumps(value, sort_keys=True)


OnceDep = Annotated[Once, Depends(_once)]
