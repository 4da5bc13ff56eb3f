"""Errors as problem documents (RFC 9457): one table from the error tree to HTTP.

A problem has ``type``, ``title``, ``status`` and ``detail`` as in the RFC, and beside them ``code`` (stable,
to match on), ``hint``, ``details`` (data) and ``retryable``. Nothing of a traceback ever leaves the process.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from aetherium.domain.errors import AetheriumError, GuestError

MEDIA_TYPE = "application/problem+json"

STATUS: Mapping[str, int] = {
    "internal": 500,
    "invalid_input": 422,
    "job_file_invalid": 422,
    "idempotency_mismatch": 422,
    "not_found": 404,
    "conflict": 409,
    "already_exists": 409,
    "invalid_transition": 409,
    "idempotency_in_progress": 409,
    "unsupported": 422,
    "limit_exceeded": 422,
    "rate_limited": 429,
    "unauthenticated": 401,
    "forbidden": 403,
    "deadline_exceeded": 504,
    "unavailable": 503,
    "tool_missing": 503,
    "vm_failed": 502,
    "boot_failed": 502,
    "vm_crashed": 502,
    "vm_unresponsive": 502,
    "guest_error": 422,
    "protocol_violation": 502,
    "channel_closed": 502,
    "image_failed": 422,
    "source_failed": 422,
    "process_failed": 502,
    # Of HTTP alone.
    "method_not_allowed": 405,
    "range_not_satisfiable": 416,
}

# What the guest's kernel said, where HTTP has a word for it.
_ERRNO_STATUS = {
    "ENOENT": 404,
    "ESRCH": 404,
    "EACCES": 403,
    "EPERM": 403,
    "EROFS": 403,
    "EEXIST": 409,
    "ENOTEMPTY": 409,
    "EISDIR": 409,
    "ENOTDIR": 409,
    "EBUSY": 409,
    "ENOSPC": 507,
    "EDQUOT": 507,
}


@dataclass(frozen=True, slots=True)
class Problem:
    """What went wrong (RFC 9457). `code` is stable, to match on; `hint`: what to do next; `details`: data;
    `retryable`: the same request may succeed later."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    hint: str
    details: dict[str, Any]
    retryable: bool


def schema() -> dict[str, Any]:
    """Of a problem document, as JSON Schema."""
    return TypeAdapter(Problem).json_schema()


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors inside a (nested) exception group, or the error itself."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


def as_domain_error(error: BaseException) -> AetheriumError | None:
    """The error of our tree that `error` is or carries, or None if it is something unforeseen."""
    found = list(leaves(error))
    ours = [leaf for leaf in found if isinstance(leaf, AetheriumError)]
    return ours[0] if ours and len(ours) == len(found) else None


def status_of(error: AetheriumError) -> int:
    """The HTTP status for an error."""
    if isinstance(error, GuestError):
        return _ERRNO_STATUS.get(str(error.details.get("errno", "")), STATUS[error.code])
    codes = (getattr(kind, "code", "") for kind in type(error).__mro__)
    return next((STATUS[code] for code in codes if code in STATUS), 500)


def document(error: AetheriumError) -> dict[str, Any]:
    """The problem document of an error."""
    return build(
        status_of(error), error.code, error.message, error.hint, dict(error.details), error.retryable
    )


def build(
    status: int,
    code: str,
    detail: str,
    hint: str = "",
    details: Mapping[str, Any] | None = None,
    retryable: bool = False,
) -> dict[str, Any]:
    """A problem document."""
    return {
        "type": f"urn:aetherium:error:{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "code": code,
        "detail": detail,
        "hint": hint,
        "details": dict(details or {}),
        "retryable": retryable,
    }


def unforeseen(incident: str) -> dict[str, Any]:
    """The document for an error that is a defect of ours; `incident` finds it in the log."""
    return build(
        500,
        "internal",
        "Something went wrong inside Aetherium.",
        f"The log of `aetherium up` has the details under incident {incident}.",
        {"incident": incident},
    )


def problem_response(body: Mapping[str, Any]) -> Response:
    """`body` as a response."""
    headers = {}
    if body["status"] in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS):
        headers["retry-after"] = str(math.ceil(body["details"].get("retry_after_s", 1)))
    return JSONResponse(dict(body), status_code=body["status"], media_type=MEDIA_TYPE, headers=headers)


def install(app: FastAPI) -> None:
    """Let `app` answer errors as problem documents."""

    async def answer(request: Request, error: Exception) -> Response:
        if isinstance(error, RequestValidationError):
            return problem_response(_validation(error))
        if isinstance(error, HTTPException):
            return problem_response(_routing(request, error))
        ours = as_domain_error(error)
        if ours is None:
            raise error
        return problem_response(document(ours))

    for kind in (AetheriumError, ExceptionGroup, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, answer)


def _validation(error: RequestValidationError) -> dict[str, Any]:
    problems = [
        {
            "where": ".".join(str(part) for part in item["loc"] if part != "body") or "body",
            "problem": str(item["msg"]),
        }
        for item in error.errors()
    ]
    first = problems[0] if problems else {"where": "body", "problem": "cannot be read"}
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return build(
        422,
        "invalid_input",
        f"{first['where']}: {first['problem']}{more}.",
        "GET /docs describes every request.",
        {"problems": problems},
    )


def _routing(request: Request, error: HTTPException) -> dict[str, Any]:
    if error.status_code == HTTPStatus.NOT_FOUND:
        return build(
            404, "not_found", f"There is no endpoint {request.url.path}.", "GET /docs lists all endpoints."
        )
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = (error.headers or {}).get("allow", "")
        return build(405, "method_not_allowed", f"{request.method} is not possible here.", f"Use: {allowed}")
    code = {400: "invalid_input", 413: "limit_exceeded", 415: "invalid_input"}.get(
        error.status_code, "invalid_input" if error.status_code < 500 else "internal"
    )
    return build(error.status_code, code, str(error.detail))


def nearest(word: str, possible: Iterator[str] | list[str] | tuple[str, ...]) -> str:
    """The one of `possible` that `word` was probably meant to be, or an empty string."""
    found = difflib.get_close_matches(word, list(possible), n=1, cutoff=0.6)
    return found[0] if found else ""
