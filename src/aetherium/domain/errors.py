"""The one tree of errors.

::

    AetheriumError
    ├── InvalidInput            the caller gave something unusable; says field, value and what to do
    │   ├── JobFileInvalid      a job file, with line and column
    │   └── IdempotencyMismatch a key that was used for another request
    ├── NotFound                no such VM, image, snapshot …
    ├── Conflict                the thing is in a state that does not allow this
    │   ├── AlreadyExists       the name is taken
    │   ├── InvalidTransition   a lifecycle refused the step
    │   └── InProgress          the same request is being carried out already
    ├── Unsupported             the driver lacks a capability; it never falls open
    ├── Unauthenticated         no credentials, or none that are valid
    ├── Forbidden               the caller's role or scopes do not allow this
    ├── LimitExceeded           a quota or size limit, with the limit and what was asked for
    │   └── RateLimited         too many requests; says when to try again
    ├── DeadlineExceeded        a timeout ran out; the work was stopped
    ├── Unavailable             may succeed later: a part is down or no capacity is free
    │   └── ToolMissing         a program that must be installed on the host
    ├── VMFailed                the VM itself failed
    │   ├── BootFailed          no ready agent before the deadline
    │   ├── VMCrashed           the VM's process ended
    │   └── VMUnresponsive      the process lives and the agent does not answer
    ├── GuestError              the guest agent refused or failed a request
    ├── ProtocolViolation       the peer broke the guest protocol; the connection is closed
    │   └── ChannelClosed       the connection to the guest ended before the answer
    ├── ImageFailed             an image could not be built, imported or booted
    └── SourceFailed            a job's source could not be fetched

Every class has a stable ``code`` that clients may match on; REST, gRPC and the CLI turn errors into
their own form by one table each. ``details`` carries data (JSON types only), never just prose.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class AetheriumError(Exception):
    """Base of all errors that users may see.

    Attributes:
        message: what was wrong, with the value.
        hint: what to do next, or an empty string.
        details: machine-readable facts, JSON types only.
    """

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "", **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details: Mapping[str, Any] = details

    def __str__(self) -> str:
        return f"{self.message} {self.hint}" if self.hint else self.message


class InvalidInput(AetheriumError):
    """The caller gave something unusable."""

    code = "invalid_input"


class JobFileInvalid(InvalidInput):
    """A job file does not fit its schema; ``details`` has ``line``, ``column`` and ``key``."""

    code = "job_file_invalid"


class IdempotencyMismatch(InvalidInput):
    """An idempotency key was used for another request before."""

    code = "idempotency_mismatch"


class NotFound(AetheriumError):
    """There is no such thing (or the caller may not see it)."""

    code = "not_found"

    def __init__(self, kind: str, ref: str, *, hint: str = "") -> None:
        super().__init__(f"There is no {kind} {ref!r}.", hint=hint, kind=kind, ref=ref)


class Conflict(AetheriumError):
    """The thing is in a state that does not allow this."""

    code = "conflict"


class AlreadyExists(Conflict):
    """The name or tag is taken."""

    code = "already_exists"


class InvalidTransition(Conflict):
    """A lifecycle refused the step; ``details`` has ``kind``, ``current`` and ``wanted``."""

    code = "invalid_transition"


class InProgress(Conflict):
    """An earlier request with the same idempotency key is still being carried out."""

    code = "idempotency_in_progress"
    retryable = True


class Unsupported(AetheriumError):
    """The driver lacks a capability."""

    code = "unsupported"

    def __init__(self, capability: str, driver: str, *, message: str = "", hint: str = "") -> None:
        text = message or f"The driver {driver!r} does not support {capability!r}."
        super().__init__(text, hint=hint, capability=capability, driver=driver)


class LimitExceeded(AetheriumError):
    """A quota or size limit was reached."""

    code = "limit_exceeded"


class RateLimited(LimitExceeded):
    """Too many requests."""

    code = "rate_limited"
    retryable = True

    def __init__(self, message: str, *, retry_after_s: float, hint: str = "", **details: Any) -> None:
        super().__init__(message, hint=hint, retry_after_s=retry_after_s, **details)

    @property
    def retry_after_s(self) -> float:
        """Seconds until it is worth another try."""
        return float(self.details.get("retry_after_s", 1.0))


class Unauthenticated(AetheriumError):
    """No credentials, or none that are valid. It never says which part of them was wrong."""

    code = "unauthenticated"


class Forbidden(AetheriumError):
    """The caller's role or scopes do not allow this; ``details`` has the ``permission``."""

    code = "forbidden"


class DeadlineExceeded(AetheriumError):
    """A timeout ran out and the work was stopped."""

    code = "deadline_exceeded"


class Unavailable(AetheriumError):
    """May succeed later."""

    code = "unavailable"
    retryable = True


class ToolMissing(Unavailable):
    """A program that must be installed on the host is not there."""

    code = "tool_missing"
    retryable = False

    def __init__(self, tool: str, package: str) -> None:
        super().__init__(
            f"The program {tool!r} is not installed.",
            hint=f"Install it: apt-get install {package}",
            tool=tool,
            package=package,
        )


class VMFailed(AetheriumError):
    """The VM itself failed."""

    code = "vm_failed"


class BootFailed(VMFailed):
    """The VM had no ready agent before the deadline; ``details`` may have the console's tail."""

    code = "boot_failed"


class VMCrashed(VMFailed):
    """The VM's process ended while something was going on in it."""

    code = "vm_crashed"


class VMUnresponsive(VMFailed):
    """The VM's process lives but its agent does not answer."""

    code = "vm_unresponsive"


class GuestError(AetheriumError):
    """The guest agent refused or failed a request; ``details['errno']`` names the cause if known."""

    code = "guest_error"


class ProtocolViolation(AetheriumError):
    """The peer broke the guest protocol."""

    code = "protocol_violation"


class ChannelClosed(ProtocolViolation):
    """The connection to the guest ended before the answer came."""

    code = "channel_closed"
    retryable = True


class ImageFailed(AetheriumError):
    """An image could not be built, imported or booted."""

    code = "image_failed"


class SourceFailed(AetheriumError):
    """A job's source could not be fetched."""

    code = "source_failed"
