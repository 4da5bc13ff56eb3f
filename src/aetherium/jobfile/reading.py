"""YAML with the place of every key and value, and without its dangers.

Only plain data is read. Aliases are allowed, as long as what they stand for stays small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from aetherium.jobfile.problems import Problem, invalid

# A hand-written file has some hundred values; aliases of aliases could make billions of a few lines.
MAX_VALUES = 20_000
MAX_DEPTH = 32

Path = tuple[str | int, ...]
Place = tuple[int, int]

# Below these keys every scalar is text, as it was written: `1.10` stays `1.10`, `-1` of a command stays `-1`.
_TEXT_BELOW = frozenset({"env", "labels", "run"})


@dataclass(slots=True)
class Document:
    """A file's content. `keys` and `values` say where things are: (line, column) from 1, by path."""

    name: str
    value: Any = None
    keys: dict[Path, Place] = field(default_factory=dict)
    values: dict[Path, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def parse(data: bytes, name: str) -> Document:
    """Read YAML. Raises JobFileInvalid for what is not even that."""
    text = _decoded(data, name)
    try:
        _check_depth(text, name)
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        raise invalid(name, [_syntax(error, text)]) from error
    except yaml.YAMLError as error:
        raise invalid(name, [Problem(1, 1, "", f"this is not YAML: {error}")]) from error
    document = Document(name)
    if node is None:
        raise invalid(name, [Problem(1, 1, "", "the file is empty: give at least 'steps'")])
    document.value = _Reader(document).read(node, (), False, ())
    return document


class _Loader(yaml.SafeLoader):
    """Scalars of plain YAML; dates stay text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, expression) for tag, expression in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _decoded(data: bytes, name: str) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, column = _place(data, error.start)
        raise invalid(
            name, [Problem(line, column, "", f"byte 0x{data[error.start]:02x} is not UTF-8")]
        ) from error
    at = text.find("\0")
    if at >= 0:
        line = text.count("\n", 0, at) + 1
        raise invalid(name, [Problem(line, at - text.rfind("\n", 0, at), "", "there is a NUL character")])
    return text


def _place(data: bytes, at: int) -> Place:
    before = data[:at]
    column = len(before[before.rfind(b"\n") + 1 :].decode(errors="replace")) + 1
    return before.count(b"\n") + 1, column


def _check_depth(text: str, name: str) -> None:
    """Before anything recurses."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_Loader)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH or count > 4 * MAX_VALUES:
            mark = event.start_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            what = f"this is nested deeper than {MAX_DEPTH}" if depth > MAX_DEPTH else "the file is too large"
            raise invalid(name, [Problem(line, column, "", what)])


def _syntax(error: yaml.MarkedYAMLError, text: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    lines = text.splitlines()
    message = f"this is not YAML: {error.problem or error.context}"
    if line <= len(lines) and "\t" in lines[line - 1][: max(column, 1)]:
        message = "a tab cannot be used for indentation in YAML: use spaces"
    return Problem(line, column, "", message)


class _Reader:
    def __init__(self, document: Document) -> None:
        self._document = document
        self._count = 0
        self._scalars = yaml.constructor.SafeConstructor()

    def read(self, node: Node, path: Path, text: bool, above: Sequence[Node]) -> Any:
        """The value of a node."""
        place = (node.start_mark.line + 1, node.start_mark.column + 1)
        self._document.values[path] = place
        self._count += 1
        if self._count > MAX_VALUES:
            self._stop(place, f"the aliases stand for more than {MAX_VALUES} values")
        if any(node is each for each in above):
            self._stop(place, "an alias holds itself")
        inside = (*above, node)
        if len(inside) > MAX_DEPTH:
            self._stop(place, f"this is nested deeper than {MAX_DEPTH}")
        if isinstance(node, MappingNode):
            return self._mapping(node, path, text, inside)
        if isinstance(node, SequenceNode):
            self._plain(node, "seq", place)
            return [self.read(item, (*path, at), text, inside) for at, item in enumerate(node.value)]
        if isinstance(node, ScalarNode):
            return self._scalar(node, text, place)
        raise TypeError(f"YAML has no node of the kind {type(node).__name__}.")

    def _mapping(self, node: MappingNode, path: Path, text: bool, above: Sequence[Node]) -> dict[str, Any]:
        self._plain(node, "map", self._document.values[path])
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            place = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            if not isinstance(key_node, ScalarNode):
                self._problem(place, "", "a key has to be a word")
                continue
            key = key_node.value
            if key in found:
                first = self._document.keys[(*path, key)]
                self._problem(place, key, f"the key {key!r} is there twice; first in line {first[0]}")
                continue
            self._document.keys[(*path, key)] = place
            below = not text and key in _TEXT_BELOW
            found[key] = self.read(value_node, (*path, key), below or text, above)
        return found

    def _scalar(self, node: ScalarNode, text: bool, place: Place) -> Any:
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        if text and kind in ("int", "float", "bool", "null", "str"):
            return node.value
        construct = {
            "int": self._scalars.construct_yaml_int,
            "float": self._scalars.construct_yaml_float,
            "bool": self._scalars.construct_yaml_bool,
            "null": self._scalars.construct_yaml_null,
            "str": self._scalars.construct_yaml_str,
        }.get(kind)
        if construct is None:
            self._problem(place, "", f"the tag {node.tag!r} cannot be used")
            return None
        try:
            return construct(node)
        except (ValueError, OverflowError, yaml.YAMLError) as error:
            self._problem(place, "", f"{node.value[:40]!r} cannot be read: {error}")
            return None

    def _plain(self, node: Node, kind: str, place: Place) -> None:
        if node.tag != f"tag:yaml.org,2002:{kind}":
            self._problem(place, "", f"the tag {node.tag!r} cannot be used")

    def _problem(self, place: Place, key: str, message: str) -> None:
        self._document.problems.append(Problem(*place, key, message))

    def _stop(self, place: Place, message: str) -> None:
        raise invalid(self._document.name, [Problem(*place, "", message)])
