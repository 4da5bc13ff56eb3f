"""Options that describe a task, for `task submit` and `schedule create`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aetherium.cli import options
from aetherium.domain.errors import InvalidInput

if TYPE_CHECKING:
    from aetherium.domain.tasks import Demand, Priority, Retry

Type = Annotated[str, typer.Argument(metavar="TYPE", help="See: aetherium task types")]
Payload = Annotated[
    str | None, typer.Option("--payload", metavar="JSON", help="An object; @FILE reads it from a file.")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="K=V", help="One value of the payload, JSON or text."),
]
PriorityOption = Annotated[
    str, typer.Option("--priority", "-p", metavar="NAME", help="critical, high, default or low.")
]
Group = Annotated[
    str, typer.Option("--group", "-g", metavar="NAME", help="Shared by tasks that belong together.")
]
Label = Annotated[list[str] | None, typer.Option("--label", "-l", metavar="K=V")]
Attempts = Annotated[
    int | None, typer.Option("--attempts", metavar="N", help="How many may fail. [default: the type's]")
]
Backoff = Annotated[
    str | None, typer.Option("--backoff", metavar="TIME", help="The first pause before a retry; it doubles.")
]
Timeout = Annotated[str | None, typer.Option("--timeout", metavar="TIME", help="For one attempt.")]
Worker = Annotated[str | None, typer.Option("--worker", metavar="ID", help="Only on this worker.")]
Require = Annotated[
    list[str] | None, typer.Option("--require", metavar="K=V", help="Only on workers with this label.")
]
Project = Annotated[str, typer.Option("--project", metavar="NAME", help="Whose it is.")]


def payload(text: str | None, given: Sequence[str] | None) -> dict[str, Any]:
    """The payload that both options make up. Raises InvalidInput."""
    found = _object(text) if text else {}
    for name, value in options.pairs(given, "--set").items():
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def _object(text: str) -> dict[str, Any]:
    try:
        source = Path(text[1:]).expanduser().read_text(encoding="utf-8") if text.startswith("@") else text
        found = json.loads(source)
    except (OSError, ValueError) as error:
        raise InvalidInput(f"The payload cannot be read: {error}.", field="payload") from error
    if not isinstance(found, dict):
        raise InvalidInput("The payload is no JSON object.", hint='Write {"key": …}.', field="payload")
    return found


def priority(name: str) -> Priority:
    """Raises InvalidInput."""
    from aetherium.domain.tasks import Priority

    try:
        return Priority(name)
    except ValueError:
        raise InvalidInput(
            f"There is no priority {name!r}.", hint=f"Use: {', '.join(Priority)}.", field="priority"
        ) from None


def demand(worker: str | None, require: Sequence[str] | None) -> Demand:
    """What it asks of a worker."""
    from aetherium.domain.tasks import Demand

    return Demand(labels=options.pairs(require, "--require"), worker_id=worker)


def retry(attempts: int | None, backoff: str | None) -> Retry:
    """How it is repeated; what is not given is the type's, if nothing is."""
    from aetherium.domain.tasks import Retry

    usual = Retry()
    base_s = usual.base_s if backoff is None else options.seconds(backoff, "--backoff")
    return Retry(
        usual.max_attempts if attempts is None else attempts, base_s=base_s, cap_s=max(base_s, usual.cap_s)
    )


def seconds(text: str | None, field: str) -> float | None:
    """An optional duration."""
    return None if text is None else options.seconds(text, field)
