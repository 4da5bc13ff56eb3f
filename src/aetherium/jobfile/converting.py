"""From a file's content to a job's spec, or to all that is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from aetherium.domain.errors import InvalidInput
from aetherium.domain.jobs import (
    ArchiveSource,
    ArtifactRule,
    BundleSource,
    DirectorySource,
    GitSource,
    JobSource,
    JobSpec,
    JobStep,
)
from aetherium.domain.tasks import Priority
from aetherium.domain.vms import NetworkMode, NetworkPolicy, Resources, VMSpec
from aetherium.jobfile import model as m
from aetherium.jobfile.problems import Problem, invalid, suggestion
from aetherium.jobfile.reading import Document

_URL = re.compile(r"^([a-z][a-z0-9+.-]*://|[^/\s]+@[^/\s:]+:|[^/\s.]+\.[^/\s:]+:)", re.IGNORECASE)
_GLOB = re.compile(r"[*?\[]")


def convert(document: Document, base: Path) -> JobSpec:
    """Check `document`. Raises JobFileInvalid with every problem."""
    problems = list(document.problems)
    file: m.JobFile | None = None
    try:
        file = m.JobFile.model_validate(document.value)
    except ValidationError as error:
        problems += _explained(document, error)
    if file is not None:
        problems += _doubles(document, file)
    if problems or file is None:
        raise invalid(document.name, problems)
    try:
        return _spec(file, base, document.name)
    except InvalidInput as error:
        field = str(error.details.get("field", ""))
        line, column = document.keys.get((field,), (1, 1))
        raise invalid(document.name, [Problem(line, column, field, str(error))]) from error


def _spec(file: m.JobFile, base: Path, name: str) -> JobSpec:
    VMSpec(labels=file.labels)  # refuses labels that no VM can have
    return JobSpec(
        name=file.name or Path(name).stem or "job",
        source=None if file.source is None else _source(file.source, base),
        image=file.image,
        driver=file.driver,
        resources=Resources(file.resources.vcpus, file.resources.memory, file.resources.disk),
        network=NetworkPolicy(NetworkMode(file.network.mode), tuple(file.network.allow)),
        env=file.env,
        secrets=tuple(file.secrets),
        workdir=file.workdir,
        user=file.user,
        steps=tuple(_step(step, text) for step, text in zip(file.steps, step_names(file), strict=True)),
        artifacts=tuple(_artifacts(file.artifacts)),
        reports=tuple(file.reports.junit),
        patch=file.patch,
        timeout_s=file.timeout,
        priority=Priority(file.priority),
        attempts=file.attempts,
        labels=file.labels,
    )


def _source(source: m.SourceModel, base: Path) -> JobSource:
    depth = None if source.depth == "all" else source.depth or 1
    if source.git is not None:
        return GitSource(_git_url(source.git, base), source.ref or "", depth)
    if source.directory is not None:
        return DirectorySource(_absolute(base, source.directory), source.uncommitted is not False, depth)
    if source.bundle is not None:
        patch = _absolute(base, source.patch) if source.patch else ""
        return BundleSource(_absolute(base, source.bundle), source.ref or "", patch)
    return ArchiveSource(_absolute(base, source.archive or ""), source.strip or 0)


def _git_url(text: str, base: Path) -> str:
    """A URL or scp-like address stays; anything else is a path."""
    return text if _URL.match(text) else _absolute(base, text)


def _absolute(base: Path, path: str) -> str:
    return str((base / Path(path).expanduser()).absolute())


def step_names(file: m.JobFile) -> list[str]:
    """Each step's name: given, or made from what it runs."""
    taken = {step.name for step in file.steps if step.name}
    names: list[str] = []
    for number, step in enumerate(file.steps, 1):
        name = step.name
        if name is None:
            text = " ".join(step.run) if isinstance(step.run, list) else step.run.strip()
            name = (text.splitlines() or [""])[0].strip()[:60] or f"step {number}"
            if name in taken:
                name = f"{name} ({number})"
            taken.add(name)
        names.append(name)
    return names


def _step(step: m.StepModel, name: str) -> JobStep:
    shell = step.shell if isinstance(step.shell, list) else m.SHELLS[step.shell or "sh"]
    return JobStep(
        name=name,
        run=step.run if isinstance(step.run, str) else "",
        argv=() if isinstance(step.run, str) else tuple(step.run),
        shell=tuple(shell),
        env=step.env,
        secrets=None if step.secrets is None else tuple(step.secrets),
        cwd=step.cwd or "",
        user=step.user,
        timeout_s=step.timeout,
        continue_on_error=step.continue_on_error,
        condition=step.if_,
    )


def _artifacts(rules: Sequence[m.ArtifactModel]) -> Iterable[ArtifactRule]:
    taken = {rule.name for rule in rules if rule.name}
    for rule in rules:
        name = rule.name
        if name is None:
            name = unique(artifact_name(rule.path), taken)
            taken.add(name)
        yield ArtifactRule(rule.path, name, rule.max_size, rule.required)


def artifact_name(pattern: str) -> str:
    """A name for the files that match `pattern`: the last component of a plain path, or its words."""
    plain = pattern.rstrip("/").rsplit("/", 1)[-1] if not _GLOB.search(pattern) else pattern
    words = re.sub(r"[^A-Za-z0-9]*[^A-Za-z0-9._]+[^A-Za-z0-9]*", "-", plain).strip("-._")
    return words[:80].strip("-._") or "artifact"


def unique(name: str, taken: set[str]) -> str:
    """`name`, with a number if it is taken."""
    if name not in taken:
        return name
    return next(f"{name}-{n}" for n in range(2, len(taken) + 3) if f"{name}-{n}" not in taken)


def _doubles(document: Document, file: m.JobFile) -> Iterable[Problem]:
    """Names that are there twice, at the place of the second."""
    for kind, names in (
        ("steps", [step.name for step in file.steps]),
        ("artifacts", [rule.name for rule in file.artifacts]),
    ):
        seen: set[str] = set()
        for at, name in enumerate(names):
            if name is not None and name in seen:
                line, column = _position(document, (kind, at, "name"))
                yield Problem(line, column, "name", f"the name {name!r} is there twice in {kind}")
            seen.add(name or "")


def _explained(document: Document, error: ValidationError) -> list[Problem]:
    """A value that fits none of several types has an error for each; they become one."""
    found: dict[tuple[Any, ...], list[Any]] = {}
    for each in error.errors(include_url=False):
        found.setdefault(_path(document, each["loc"]), []).append(each)
    inner = {path[:length] for path in found for length in range(len(path))}
    return [
        _problem(document, path, errors)
        for path, errors in found.items()
        # Of a list with a wrong item, the item is to be told, not that the list is no text either.
        if path not in inner or not all(each["type"].endswith("_type") for each in errors)
    ]


def _problem(document: Document, path: tuple[str | int, ...], errors: Sequence[Any]) -> Problem:
    first = errors[0]
    where = _written(path)
    if first["type"] == "extra_forbidden":
        line, column = document.keys.get(path, (1, 1))
        key = str(path[-1])
        message = f"unknown key {key!r}{_inside(path)}; {suggestion(key, m.known_keys(path[:-1]))}"
        return Problem(line, column, key, message)
    line, column = _position(document, path)
    key = next((str(part) for part in reversed(path) if isinstance(part, str)), "")
    if first["type"] == "missing":
        key = str(first["loc"][-1])
        return Problem(line, column, key, f"{where or 'the file'} has no {key!r}, which is needed")
    if not path and first["type"] in ("model_type", "model_attributes_type"):
        return Problem(line, column, "", "the file has to hold keys and values, at least 'steps'")
    wanted = dict.fromkeys(_wanted(each) for each in errors)
    return Problem(line, column, key, f"{where}: {' or '.join(wanted)}" if where else " or ".join(wanted))


def _wanted(error: Any) -> str:
    kind = error["type"]
    if kind in ("value_error", "assertion_error"):
        return str(error["ctx"]["error"])
    if kind in ("literal_error", "enum"):
        expected = error["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        value = error["input"]
        if not isinstance(value, str):
            return f"give one of {', '.join(expected)}"
        return f"{value!r} is not known; {suggestion(value, expected).replace('known keys', 'there are')}"
    words = {
        "string_type": "give text",
        "list_type": "give a list",
        "dict_type": "give keys and values",
        "model_type": "give keys and values",
        "model_attributes_type": "give keys and values",
        "bool_type": "give true or false",
        "int_type": "give a whole number",
        "string_too_short": "it is empty",
        "too_short": "it is empty",
    }
    if kind == "string_pattern_mismatch":
        return f"{error['input']!r} cannot be used here"
    if kind == "string_too_long":
        return f"it is too long: at most {error['ctx']['max_length']} characters (put a script into a file)"
    found = words.get(kind)
    if found is None:
        return str(error["msg"])
    return f"{found}, not {_kind(error['input'])}" if found.startswith("give") else found


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "keys and values"
    return "a list" if isinstance(value, list) else repr(value)[:60]


def _path(document: Document, location: Sequence[str | int]) -> tuple[str | int, ...]:
    """The place in the file: pydantic's location without the names of types in unions."""
    path: tuple[str | int, ...] = ()
    for part in location:
        if (*path, part) in document.values:
            path = (*path, part)
    return path


def _position(document: Document, path: tuple[str | int, ...]) -> tuple[int, int]:
    return document.values.get(path) or document.values.get((), (1, 1))


def _inside(path: tuple[str | int, ...]) -> str:
    return f" in {_written(path[:-1])}" if len(path) > 1 else ""


def _written(path: tuple[str | int, ...]) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
