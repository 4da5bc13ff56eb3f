"""A job's events as people read them: phases, step headers, output, what came back."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aetherium.cli import terminal
from aetherium.cli.formats import duration, safe, size
from aetherium.cli.output import Output

if TYPE_CHECKING:
    from rich.console import Console

    from aetherium.domain.jobs import Job, JobEvent

_MARKS = {"passed": ("✓", "green"), "failed": ("✗", "red"), "skipped": ("-", "yellow")}
_ENDS = {"succeeded": "green", "failed": "red", "timed_out": "red", "cancelled": "yellow"}
_FAILURES_SHOWN = 10


class JobView:
    """Shows events as they come. Steps' output goes where it went in the guest: stdout or stderr; all else to
    stderr.

    Args:
        headers: show phases and steps; False: the steps' output only.
    """

    def __init__(self, output: Output, *, headers: bool = True) -> None:
        self._output = output
        self._headers = headers and not output.quiet
        self._fresh = {sys.stdout.fileno(): True, sys.stderr.fileno(): True}

    async def show(self, event: JobEvent) -> None:
        """One event."""
        if self._output.as_json:
            self._output.line(event)
        elif event.kind == "output":
            await self._print_output(event.data)
        elif event.kind == "warning":
            self._newline()
            self._output.warn(safe(str(event.data.get("message", ""))))
        elif self._headers:
            show = getattr(self, f"_show_{event.kind}", None)
            if show is not None:
                self._newline()
                show(self._output.err, event.data)

    async def _print_output(self, data: Mapping[str, Any]) -> None:
        fd = sys.stderr.fileno() if data.get("stream") == "stderr" else sys.stdout.fileno()
        text = str(data.get("text", ""))
        if not text:
            return
        await terminal.write(fd, text.encode())
        self._fresh[fd] = text.endswith("\n")

    def _newline(self) -> None:
        """A header begins on a line of its own."""
        for fd, fresh in self._fresh.items():
            if not fresh and terminal.same_terminal(fd, sys.stderr.fileno()):
                sys.stderr.write("\n")
                sys.stderr.flush()
            self._fresh[fd] = True

    def _show_phase(self, console: Console, data: Mapping[str, Any]) -> None:
        name, seconds = str(data.get("name", "")), data.get("duration_s")
        detail = str(data.get("detail", ""))
        if name.startswith("step"):
            return  # steps have headers of their own
        took = f" ({duration(float(seconds))})" if isinstance(seconds, int | float) else " …"
        _print(console, "• ", "cyan", f"{safe(name)}{': ' + safe(detail) if detail else ''}{took}", "dim")

    def _show_step_started(self, console: Console, data: Mapping[str, Any]) -> None:
        _print(console, "▶ ", "bold blue", safe(str(data.get("step", data.get("name", "")))), "bold")

    def _show_step_finished(self, console: Console, data: Mapping[str, Any]) -> None:
        outcome = str(data.get("outcome", ""))
        mark, style = _MARKS.get(outcome, ("•", "yellow"))
        text = f"{safe(str(data.get('step', data.get('name', ''))))} {outcome}{_why(data)}"
        _print(console, f"{mark} ", style, text, style)

    def _show_artifact(self, console: Console, data: Mapping[str, Any]) -> None:
        path = safe(str(data.get("path", data.get("name", ""))))
        _print(console, "↓ ", "cyan", f"artifact {path} ({size(int(data.get('size_bytes', 0)))})", "")

    def _show_patch(self, console: Console, data: Mapping[str, Any]) -> None:
        files, plus, minus = (int(data.get(key, 0)) for key in ("files", "insertions", "deletions"))
        _print(console, "± ", "cyan", f"patch: {_count(files, 'file')}, +{plus} -{minus}", "")

    def _show_tests(self, console: Console, data: Mapping[str, Any]) -> None:
        bad = int(data.get("failed", 0)) + int(data.get("errors", 0))
        skipped, total = int(data.get("skipped", 0)), int(data.get("tests", 0))
        text = f"tests: {total - bad - skipped} passed, {bad} failed, {skipped} skipped"
        _print(console, "∑ ", "red" if bad else "green", text, "red" if bad else "")


def _why(data: Mapping[str, Any]) -> str:
    result = data.get("result")
    facts: Mapping[str, Any] = result if isinstance(result, Mapping) else data
    parts = []
    if facts.get("exit_code"):
        parts.append(f"exit code {facts['exit_code']}")
    if facts.get("signal"):
        parts.append(f"signal {facts['signal']}")
    if facts.get("oom"):
        parts.append("out of memory")
    if facts.get("error"):
        parts.append(safe(str(facts["error"])))
    seconds = facts.get("duration_s", data.get("duration_s"))
    if isinstance(seconds, int | float):
        parts.append(duration(float(seconds)))
    if data.get("ignored"):
        parts.append("goes on in spite of it")
    return f" ({', '.join(parts)})" if parts else ""


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _print(console: Console, mark: str, mark_style: str, text: str, style: str) -> None:
    from rich.text import Text

    console.print(Text(mark, style=mark_style) + Text(text, style=style), soft_wrap=True)


def summarise(output: Output, job: Job, saved: Mapping[str, str]) -> None:
    """The end of a job: how it ended, failed tests, timings, and where what it brought back lies.

    Args:
        saved: what was written on this host: a label and a path.
    """
    if output.as_json or output.quiet:
        return
    console, state = output.err, job.state.value
    total = (job.ended_at - job.started_at).total_seconds() if job.ended_at and job.started_at else 0.0
    _print(console, "● ", _ENDS.get(state, ""), f"Job {job.id} {state} in {duration(total)}", "bold")
    if job.error:
        _print(console, "  ", "", safe(job.error), "red")
    if job.tests is not None:
        for failure in job.tests.failures[:_FAILURES_SHOWN]:
            first = (safe(failure.message).strip().splitlines() or [""])[0][:160]
            _print(console, "  ✗ ", "red", f"{safe(failure.suite)} {safe(failure.name)}: {first}", "")
        if (more := len(job.tests.failures) - _FAILURES_SHOWN) > 0:
            _print(console, "    ", "", f"and {more} more", "dim")
    if job.timings:
        times = ", ".join(f"{safe(item.name)} {duration(item.duration_s)}" for item in job.timings)
        _print(console, "  ", "", times, "dim")
    for label, path in saved.items():
        _print(console, "  → ", "cyan", f"{label}: {path}", "")
