"""``idempotency-key`` in a call's metadata: what makes something can be called again, and makes it once.

As ``Idempotency-Key`` over HTTP, and kept in the same place; see gateway/once.py. What is kept is the
response.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from google.protobuf.message import Message

from aetherium.domain.errors import InvalidInput
from aetherium.domain.identity import Caller
from aetherium.domain.projects import DEFAULT_PROJECT
from aetherium.gateway.once import Once
from aetherium.interfaces.idempotency import RequestKey
from aetherium.protocol.generated.executions_pb2 import ExecutionSpec

M = TypeVar("M", bound=Message)

_LONGEST = 255


def once_of(once: Once, key: str, caller: Caller, request: Message) -> Once:
    """A call. Raises InvalidInput for a key that is none.

    Args:
        once: one without a key.
        key: empty: it is carried out each time.
    """
    if not key:
        return once
    if len(key) > _LONGEST:
        raise InvalidInput(
            f"The idempotency key has {len(key)} characters.",
            hint=f"Use at most {_LONGEST}.",
            field="idempotency-key",
        )
    # Each call has a request of its own kind.
    name = RequestKey(caller.project_id or DEFAULT_PROJECT, key, request.DESCRIPTOR.full_name)
    return replace(once, request=name, fingerprint=_fingerprint(caller, request))


async def answered(once: Once, kind: type[M], work: Callable[[], Awaitable[M]]) -> M:
    """The response that `work` gives, or the one that was given before. Raises what Once raises.

    Args:
        kind: of what `work` gives.
    """
    if once.request is None:
        return await work()

    async def encoded() -> str:
        return base64.b64encode((await work()).SerializeToString()).decode()

    return kind.FromString(base64.b64decode(await once.value(encoded)))


def _fingerprint(caller: Caller, request: Message) -> str:
    """Without the values of secrets, as over HTTP."""
    asked = type(request).FromString(request.SerializeToString())
    spec = getattr(asked, "spec", None)
    if isinstance(spec, ExecutionSpec):
        for name in list(spec.secret_env):
            spec.secret_env[name] = b""
    whole = caller.subject.encode() + b"\0" + asked.SerializeToString(deterministic=True)
    return hashlib.sha256(whole).hexdigest()
