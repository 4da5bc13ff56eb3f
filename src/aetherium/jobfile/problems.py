"""What is wrong in a job file, and where."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from aetherium.domain.errors import JobFileInvalid

# Which keys other systems' job files use for what ours calls otherwise.
_OTHER_WORDS = {
    "command": "run",
    "commands": "run",
    "cmd": "run",
    "script": "run",
    "args": "run",
    "exec": "run",
    "when": "if",
    "condition": "if",
    "working-directory": "cwd",
    "workdir": "cwd",
    "dir": "cwd",
    "environment": "env",
    "variables": "env",
    "allow-failure": "continue-on-error",
    "ignore-errors": "continue-on-error",
    "repo": "source",
    "repository": "source",
    "checkout": "source",
    "url": "git",
    "branch": "ref",
    "tag": "ref",
    "commit": "ref",
    "cpus": "vcpus",
    "cpu": "vcpus",
    "mem": "memory",
    "ram": "memory",
    "jobs": "steps",
    "tasks": "steps",
    "runs-on": "image",
    "container": "image",
    "timeout-minutes": "timeout",
}
_MOST_SHOWN = 20


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One error: where (from 1), the key it is about, and what is wrong."""

    line: int
    column: int
    key: str
    message: str


def suggestion(key: str, known: Collection[str]) -> str:
    """``did you mean …`` with the nearest of the `known` keys, or which ones there are."""
    plain = key.lower().replace("_", "-")
    near = difflib.get_close_matches(plain, known, n=1, cutoff=0.6)
    found = [plain] if plain in known else []
    similar = difflib.get_close_matches(plain, _OTHER_WORDS, n=1, cutoff=0.8)
    other = _OTHER_WORDS[similar[0]] if similar else ""
    for word in (*near, other):
        if word in known and word not in found:
            found.append(word)
    if found:
        return f"did you mean {' or '.join(map(repr, found))}?"
    return f"known keys: {', '.join(sorted(known))}"


def invalid(name: str, problems: Sequence[Problem]) -> JobFileInvalid:
    """All problems of the file `name` as one error."""
    ordered = sorted(set(problems))
    lines = [f"{name}:{each.line}:{each.column}: {each.message}" for each in ordered[:_MOST_SHOWN]]
    if len(ordered) > _MOST_SHOWN:
        lines.append(f"… and {len(ordered) - _MOST_SHOWN} more")
    first = ordered[0]
    return JobFileInvalid(
        "\n".join(lines),
        line=first.line,
        column=first.column,
        key=first.key,
        errors=[
            {"line": each.line, "column": each.column, "key": each.key, "message": each.message}
            for each in ordered
        ],
    )
