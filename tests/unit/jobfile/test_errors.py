"""Job files that are wrong: line, column, key, and what to write instead."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from aetherium import jobfile
from aetherium.domain.errors import AetheriumError, InvalidInput, JobFileInvalid, LimitExceeded

STEPS = "steps: [{run: x}]\n"


def refuse(text: str | bytes) -> JobFileInvalid:
    with pytest.raises(JobFileInvalid) as caught:
        jobfile.loads(text, base=Path("/x"))
    return caught.value


@pytest.mark.parametrize(
    ("text", "line", "column", "key", "words"),
    [
        ("sorce: {}\n" + STEPS, 1, 1, "sorce", "did you mean 'source'"),
        (
            "steps:\n  - name: a\n    comand: x\n    run: y\n",
            3,
            5,
            "comand",
            "in steps[0]; did you mean 'run'",
        ),
        (
            "steps:\n  - run: y\n    continue_on_error: true\n",
            3,
            5,
            "continue_on_error",
            "'continue-on-error'",
        ),
        ("steps:\n  - run: y\n    zzz: true\n", 3, 5, "zzz", "known keys: "),
        ("steps:\n  - name: a\n", 2, 5, "run", "steps[0] has no 'run'"),
        ("name: a\n", 1, 1, "steps", "the file has no 'steps'"),
        ("steps: []\n", 1, 8, "steps", "it is empty"),
        ("steps: {run: x}\n", 1, 8, "steps", "give a list"),
        ("steps: [x]\n", 1, 9, "steps", "steps[0]: give keys and values, not 'x'"),
        ("steps:\n  - run: [a, [3]]\n", 2, 14, "run", "give text, not a list"),
        ("steps:\n  - run: x\n    shell: zsh\n", 3, 12, "shell", "'zsh' is not known; did you mean 'sh'"),
        ("steps:\n  - run: x\n    if: sucess\n", 3, 9, "if", "did you mean 'success'"),
        ("steps:\n  - run: x\n    timeout: 5 parsecs\n", 3, 14, "timeout", "write it as 90s"),
        ("steps:\n  - run: x\n    timeout: 0\n", 3, 14, "timeout", "out of range"),
        ("steps:\n  - run: x\n    timeout: .nan\n", 3, 14, "timeout", "out of range"),
        ("steps:\n  - run: x\n    continue-on-error: maybe\n", 3, 24, "continue-on-error", "true or false"),
        ("steps:\n  - run: x\n    env: {A B: 1}\n", 3, 10, "env", "'A B' is not a name"),
        ("steps:\n  - {run: x, name: a}\n  - {run: y, name: a}\n", 3, 20, "name", "'a' is there twice"),
        (STEPS + "resources: {memory: 512}\n", 2, 21, "memory", "write 512MiB"),
        (STEPS + "resources: {memory: 1MiB}\n", 2, 21, "memory", "128"),
        (STEPS + "network: opn\n", 2, 10, "network", "did you mean 'open'"),
        (STEPS + "network: {mode: none, allow: [a.b]}\n", 2, 10, "network", "allowlist"),
        (STEPS + "source: {git: a, directory: b}\n", 2, 9, "source", "exactly one of"),
        (
            STEPS + "source: {directory: b, strip: 1}\n",
            2,
            9,
            "source",
            "'strip' does not go with 'directory'",
        ),
        (STEPS + "artifacts: [{path: a, name: ../b}]\n", 2, 29, "name", "'../b' cannot be used"),
        (STEPS + "workdir: src\n", 2, 10, "workdir", "'src' cannot be used"),
        (STEPS + "labels: {'a b': c}\n", 2, 1, "labels", "'a b' cannot be used"),
        (STEPS + "steps: []\n", 2, 1, "steps", "there twice; first in line 1"),
        (STEPS + "env: {A: 1, A: 2}\n", 2, 13, "A", "there twice"),
        ("", 1, 1, "", "empty"),
        ("# only words\n", 1, 1, "", "empty"),
        ("- 1\n", 1, 1, "", "keys and values"),
        ("steps: [\n", 2, 1, "", "not YAML"),
        ("a: 1\n---\nb: 2\n", 2, 1, "", "not YAML"),
        ("steps:\n\t- run: x\n", 2, 1, "", "a tab"),
        (b"steps:\n  - run: \xff\n", 2, 10, "", "0xff is not UTF-8"),
        ("name: a\0b\n" + STEPS, 1, 8, "", "NUL"),
        ("[" * 5000, 1, 33, "", "nested deeper"),
        ("name: !!python/name:os.system x\n" + STEPS, 1, 7, "", "tag"),
        ("name: &a [*a]\n", 1, 7, "", "holds itself"),
        (STEPS + "timeout: " + "9" * 5000 + "\n", 2, 10, "", "cannot be read"),
    ],
)
def test_an_error_names_its_place(text: str | bytes, line: int, column: int, key: str, words: str) -> None:
    error = refuse(text)
    assert words in error.message
    assert (error.details["line"], error.details["column"], error.details["key"]) == (line, column, key)
    assert error.message.startswith(f"job.yaml:{line}:{column}: ")


def test_all_errors_come_at_once() -> None:
    error = refuse("nam: x\nsteps:\n  - {run: a, tmeout: 5}\n  - {run: b, if: now}\n")
    assert [each["line"] for each in error.details["errors"]] == [1, 3, 4]
    assert len(error.message.splitlines()) == 3


def test_a_bomb_of_aliases_is_refused() -> None:
    lines = ["a: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"b{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 20)]
    assert "aliases stand for more" in refuse("\n".join(lines)).message


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_bytes(b"#" * (jobfile.MAX_BYTES + 1))
    with pytest.raises(LimitExceeded):
        jobfile.load(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"nothing\.yaml.*No such file"):
        jobfile.load(tmp_path / "nothing.yaml")


@given(st.text(max_size=200) | st.binary(max_size=200))
def test_no_text_is_worse_than_an_error(text: str | bytes) -> None:
    with suppress(AetheriumError):
        jobfile.loads(text, base=Path("/x"))


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from([*jobfile.schema()["properties"], "x"]),
        _VALUES | st.lists(st.dictionaries(st.sampled_from(["run", "name", "if", "env", "path"]), _VALUES)),
        max_size=4,
    )
)
def test_no_value_is_worse_than_an_error(value: object) -> None:
    with suppress(AetheriumError):
        jobfile.loads(yaml.safe_dump(value), base=Path("/x"))
