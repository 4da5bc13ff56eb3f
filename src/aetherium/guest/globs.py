"""Globs over relative paths: ``*`` and ``?`` stay within a name, ``**`` crosses directories."""

import re


class Patterns:
    """Some globs. Without a slash one matches at any depth; one that names a directory matches all below."""

    def __init__(self, globs: list[str]) -> None:
        self._expressions = [re.compile(_translate(glob)) for glob in globs]

    def __bool__(self) -> bool:
        return bool(self._expressions)

    def match(self, path: str) -> bool:
        """Whether `path`, relative and without a slash at its ends, matches one of them."""
        return any(expression.fullmatch(path) for expression in self._expressions)


def _translate(glob: str) -> str:
    glob = glob.removeprefix("./")
    anchored = "/" in glob.rstrip("/")
    glob = glob.strip("/")
    out = "" if anchored else "(?:.*/)?"
    at = 0
    while at < len(glob):
        if glob.startswith("**/", at):
            out += "(?:[^/]+/)*"
            at += 3
        elif glob.startswith("**", at):
            out += ".*"
            at += 2
        else:
            piece, at = _piece(glob, at)
            out += piece
    return f"(?s:{out}(?:/.*)?)"


def _piece(glob: str, at: int) -> tuple[str, int]:
    """One character or class of a glob as an expression, and where it ends."""
    character = glob[at]
    if character == "*":
        return "[^/]*", at + 1
    if character == "?":
        return "[^/]", at + 1
    end = glob.find("]", at + 2) if character == "[" else -1
    if end < 0:
        return re.escape(character), at + 1
    inside = glob[at + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
    if inside[0] in "!^":
        inside = f"^/{inside[1:]}"
    return f"[{inside}]", end + 1
