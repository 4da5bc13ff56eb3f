"""Problem documents back into errors: a table from code to class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aetherium.domain import errors
from aetherium.domain.errors import AetheriumError
from aetherium.process import ProcessFailed

CLASSES: Mapping[str, type[AetheriumError]] = {
    kind.code: kind
    for kind in (
        AetheriumError,
        errors.InvalidInput,
        errors.JobFileInvalid,
        errors.IdempotencyMismatch,
        errors.NotFound,
        errors.Conflict,
        errors.AlreadyExists,
        errors.InvalidTransition,
        errors.InProgress,
        errors.Unsupported,
        errors.LimitExceeded,
        errors.RateLimited,
        errors.Unauthenticated,
        errors.Forbidden,
        errors.DeadlineExceeded,
        errors.Unavailable,
        errors.ToolMissing,
        errors.VMFailed,
        errors.BootFailed,
        errors.VMCrashed,
        errors.VMUnresponsive,
        errors.GuestError,
        errors.ProtocolViolation,
        errors.ChannelClosed,
        errors.ImageFailed,
        errors.SourceFailed,
        ProcessFailed,
    )
}


def rebuild(problem: Mapping[str, Any], *, retry_after: str = "") -> AetheriumError:
    """The error that a problem document tells of; an unknown code gives an AetheriumError.

    Args:
        retry_after: the header of its answer.
    """
    kind = CLASSES.get(str(problem.get("code", "")), AetheriumError)
    error = kind.__new__(kind)
    details = problem.get("details")
    # Not kind.__init__: some take other arguments and would word the message anew.
    AetheriumError.__init__(
        error,
        str(problem.get("detail") or "The gateway answered with an error."),
        hint=str(problem.get("hint") or ""),
    )
    error.details = details if isinstance(details, Mapping) else {}
    if isinstance(error, errors.RateLimited) and retry_after.isdecimal():
        error.details = {"retry_after_s": float(retry_after), **error.details}
    return error
