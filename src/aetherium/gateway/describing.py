"""What routes say of themselves for the API's description: errors, streams, bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from aetherium.gateway import problems
from aetherium.gateway.following import SSE, Message, encode_event
from aetherium.gateway.streams import NDJSON, encode_line

Responses = dict[int | str, dict[str, Any]]

PROBLEM = {"$ref": "#/components/schemas/Problem"}
# What whoever works in a VM may meet.
GUEST = (
    "conflict",
    "vm_crashed",
    "vm_unresponsive",
    "guest_error",
    "channel_closed",
    "protocol_violation",
)
# What a request with an Idempotency-Key may meet.
ONCE = ("idempotency_mismatch", "idempotency_in_progress")
OCTETS = "application/octet-stream"


# What a problem of a kind may say.
_SAMPLES: Mapping[str, tuple[str, str]] = {
    "already_exists": ("There is a VM named 'box' already.", "Choose another name."),
    "conflict": ("The VM vm_06jx3k9q2w8r5t1a is stopped.", ""),
    "forbidden": ("This needs the permission vms:write.", "Ask an administrator of the project for a role."),
    "guest_error": ("/nope: No such file or directory.", ""),
    "idempotency_in_progress": ("The first request with this key is being carried out.", "Try again."),
    "idempotency_mismatch": ("This idempotency key was used for another request.", "Use a new key."),
    "internal": (
        "Something went wrong inside Aetherium.",
        "The log has the details under incident 1f00aa42.",
    ),
    "invalid_input": (
        "limit: Input should be greater than or equal to 1.",
        "GET /docs describes every request.",
    ),
    "invalid_transition": ("VM vm_06jx3k9q2w8r5t1a is paused and does not become paused from there.", ""),
    "limit_exceeded": (
        "The project 'web' may have 4 VMs, and has 4.",
        "Delete some, or ask for a larger quota.",
    ),
    "not_found": ("There is no VM 'box'.", ""),
    "rate_limited": ("There were more than 100 requests in a second.", "Try again in a second."),
    "unauthenticated": ("There are no valid credentials.", "Send an API key as a bearer token."),
    "unavailable": ("No worker fits.", "Try again later."),
    "unsupported": ("The driver 'fake' does not support 'fork'.", ""),
}


def _sample(code: str) -> tuple[str, str]:
    return _SAMPLES.get(code, (f"{code.replace('_', ' ').capitalize()}.", ""))


def errors(*codes: str) -> Responses:
    """The answers with these codes, for a route's `responses`; those that any route may give are added by
    openapi.py."""
    by_status: dict[int, list[str]] = {}
    for code in codes:
        by_status.setdefault(problems.STATUS[code], []).append(code)
    return {status: _problem(status, found) for status, found in by_status.items()}


def _problem(status: int, codes: list[str]) -> dict[str, Any]:
    examples = {code: {"value": problems.build(status, code, *_sample(code))} for code in sorted(codes)}
    return {
        "description": ", ".join(f"`{code}`" for code in sorted(codes)),
        "content": {problems.MEDIA_TYPE: {"schema": PROBLEM, "examples": examples}},
    }


def lines(*values: Any, status: int = 200) -> Responses:
    """A stream of JSON values, such as these; ``"<VM>"`` in them stands for the example of a VM."""
    description = "It was made; as a stream, with progress." if status == 201 else "A stream."
    return {status: {"description": description, "content": {NDJSON: _text(map(encode_line, values))}}}


def followed(*messages: Message) -> Responses:
    """A stream that can be followed, of such messages."""
    found = lines(*(message.data for message in messages))
    found[200]["content"][SSE] = _text(map(encode_event, messages))
    if any(message.id for message in messages):
        found[204] = {"description": "The client has all of it, as its `Last-Event-ID` says."}
    return found


def _text(pieces: Iterable[bytes]) -> dict[str, Any]:
    return {"schema": {"type": "string"}, "example": b"".join(pieces).decode()}


def octets(media_type: str = OCTETS, *, ranged: bool = False, head: bool = False) -> Responses:
    """A body of bytes."""
    schema: dict[str, Any] = {"schema": {"type": "string"}, "example": "The bytes."}
    content: dict[str, Any] = {} if head else {"content": {media_type: schema}}
    found: Responses = {200: {"description": "The bytes.", **content}}
    if ranged:
        found[304] = {"description": "Not changed, as `If-None-Match` asks."}
        if not head:
            found[206] = {"description": "The part that `Range` asks for.", **content}
            found[416] = _problem(416, ["range_not_satisfiable"])
    return found


def takes(media_type: str) -> dict[str, Any]:
    """A request's body of bytes, for a route's `openapi_extra`."""
    content = {media_type: {"schema": {"type": "string", "format": "binary"}, "example": "The bytes."}}
    return {"requestBody": {"required": True, "content": content}}
