"""What people and programs see: tables and messages, or JSON. Answers on stdout, the rest on stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from aetherium.domain.errors import AetheriumError, DeadlineExceeded, InvalidInput

if TYPE_CHECKING:
    from rich.console import Console

# Wide enough for any table: what a program reads is not cut.
_PIPE_WIDTH = 10_000


class Output:
    """Writes answers.

    Args:
        as_json: JSON for programs instead of tables for people.
        quiet: no progress.
    """

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json = as_json
        self.quiet = quiet

    @cached_property
    def out(self) -> Console:
        """Standard output, with colours if it is a terminal and NO_COLOR is not set."""
        from rich.console import Console

        width = None if sys.stdout.isatty() else _PIPE_WIDTH
        return Console(highlight=False, width=width, soft_wrap=False, emoji=False)

    @cached_property
    def err(self) -> Console:
        """Standard error."""
        from rich.console import Console

        return Console(stderr=True, highlight=False, emoji=False)

    def json(self, value: Any) -> None:
        """One JSON document on stdout; domain values become JSON types."""
        print(json.dumps(plain(value), indent=2 if sys.stdout.isatty() else None, ensure_ascii=False))

    def line(self, value: Any) -> None:
        """One line of JSON at once, for streams."""
        print(json.dumps(plain(value), ensure_ascii=False, separators=(",", ":")), flush=True)

    def show(self, value: Any, people: Callable[[Console], None]) -> None:
        """An answer: `value` for programs, or what `people` prints."""
        if self.as_json:
            self.json(value)
        else:
            people(self.out)

    def table(self, headers: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> None:
        """A table for people; `empty` says what to do when there is nothing."""
        from rich.table import Table
        from rich.text import Text

        if not rows:
            self.note(empty)
            return
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        for index, header in enumerate(headers):
            table.add_column(header, no_wrap=index == 0, overflow="ellipsis")
        for row in rows:
            table.add_row(*(Text(cell, style=state_style(cell)) for cell in row))
        if self.out.is_terminal:
            self.out.print(table)
            return
        with self.out.capture() as captured:
            self.out.print(table)
        print("\n".join(line.rstrip() for line in captured.get().splitlines()))

    def facts(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Names and values, one per line; empty values are left out."""
        from rich.text import Text

        shown = [(name, value) for name, value in pairs if value]
        width = max((len(name) for name, _ in shown), default=0)
        for name, value in shown:
            label = Text(f"{name:<{width}}  ", style="bold")
            self.out.print(label + Text(value, style=state_style(value)), soft_wrap=True)

    def note(self, text: str) -> None:
        """A remark for people, on stderr."""
        if not self.as_json and not self.quiet:
            from rich.text import Text

            self.err.print(Text(text, style="dim"), soft_wrap=True)

    def warn(self, text: str) -> None:
        """A warning, on stderr."""
        from rich.text import Text

        self.err.print(Text("Warning: ", style="bold yellow") + Text(text), soft_wrap=True)

    def fail(self, error: AetheriumError) -> int:
        """Say what is wrong; the exit code for it."""
        if self.as_json:
            self.json({"error": problem(error)})
        else:
            from rich.text import Text

            self.err.print(Text("Error: ", style="bold red") + Text(error.message), soft_wrap=True)
            if hint := error.hint or _LISTED.get(str(error.details.get("kind", "")), ""):
                self.err.print(Text("  → ", style="cyan") + Text(hint), soft_wrap=True)
        if isinstance(error, DeadlineExceeded):
            return 124
        return 2 if isinstance(error, InvalidInput) else 1

    @contextmanager
    def progress(self, text: str) -> Iterator[Callable[[str, float | None], None]]:
        """A line that says what goes on, with a spinner on a terminal; elsewhere one line per new step.

        Yields a function that takes the step and how far it is (0 to 1, or None).
        """
        if self.as_json or self.quiet:
            yield lambda _step, _fraction: None
        elif not self.err.is_terminal or os.environ.get("TERM") == "dumb":
            yield self._plain_progress()
        else:
            from aetherium.cli.progress import live

            with live(self.err, text) as update:
                yield update

    def _plain_progress(self) -> Callable[[str, float | None], None]:
        said = ""

        def update(step: str, _fraction: float | None) -> None:
            nonlocal said
            if step != said:
                said = step
                print(f"{step} …", file=sys.stderr, flush=True)

        return update


def problem(error: AetheriumError) -> dict[str, Any]:
    """An error as JSON types."""
    return {
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
        "details": dict(error.details),
        "retryable": error.retryable,
    }


def plain(value: Any) -> Any:
    """A domain value, or a collection of them, as JSON types; nothing secret in it."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    from aetherium.client import values

    found = values.dump(value)
    if isinstance(found, dict):
        for hidden in ("handle", "owner", "driver_data"):
            found.pop(hidden, None)
        if isinstance(found.get("spec"), dict):
            found["spec"].pop("secret_env", None)
    return found


# For what was not found: where its like is seen.
_LISTED = {
    "VM": "See: aetherium vm list",
    "job": "See: aetherium job list",
    "snapshot": "See: aetherium snapshot list",
    "task": "See: aetherium task list",
    "dead letter": "See: aetherium dead-letter list",
    "schedule": "See: aetherium schedule list",
    "worker": "See: aetherium worker list",
    "project": "See: aetherium project list",
    "API key": "See: aetherium api-key list",
}
_STYLES = {
    **dict.fromkeys(("blocked", "scheduled"), "blue"),
    **dict.fromkeys(("running", "ready", "succeeded", "passed", "exited", "active"), "green"),
    **dict.fromkeys(("failed", "timed_out", "lost", "signaled", "dead"), "red"),
    **dict.fromkeys(("paused", "stopped", "cancelled", "skipped", "discarded", "draining"), "yellow"),
    **dict.fromkeys(
        ("creating", "stopping", "pending", "starting", "deleting", "cancelling", "queued"), "cyan"
    ),
}


def state_style(text: str) -> str:
    """The colour of a state; no colour for any other text."""
    return _STYLES.get(text, "")
