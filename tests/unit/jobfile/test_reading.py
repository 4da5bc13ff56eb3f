"""Job files: what they become."""

from __future__ import annotations

from pathlib import Path

import pytest

from aetherium import jobfile
from aetherium.domain.jobs import (
    ArchiveSource,
    ArtifactRule,
    BundleSource,
    DirectorySource,
    GitSource,
    JobSpec,
    StepCondition,
)
from aetherium.domain.vms import NetworkMode

BASE = Path("/somewhere/project")


def read(text: str) -> JobSpec:
    return jobfile.loads(text, base=BASE)


def test_everything_at_once() -> None:
    spec = read(
        """
name: all of it
source: {git: "https://example.org/a.git", ref: v1.2, depth: all}
image: alpine
driver: qemu
resources: {vcpus: 2, memory: 1GiB, disk: 8G}
network: none
env: {PLAIN: text, NUMBER: 1.10, FLAG: yes, EMPTY: }
secrets: [TOKEN]
workdir: /src
user: agent
timeout: 1h30m
patch: false
labels: {team: core}
steps:
  - name: build
    run: |
      make
      make check
    shell: bash
    env: {CFLAGS: -O2}
    cwd: lib
    user: root
    timeout: 90s
    continue-on-error: true
    secrets: []
  - run: [python3, -m, pytest, "a b", -1, yes]
    if: always
artifacts:
  - dist/*.whl
  - {path: build/report.html, name: report, max-size: 5MB, required: true}
reports: {junit: ["reports/**/*.xml"]}
"""
    )
    assert spec.source == GitSource("https://example.org/a.git", "v1.2", None)
    assert (spec.image, spec.driver, spec.workdir, spec.user) == ("alpine", "qemu", "/src", "agent")
    assert (spec.resources.vcpus, spec.resources.memory_mib, spec.resources.disk_mib) == (2, 1024, 8192)
    assert spec.network.mode is NetworkMode.NONE
    assert spec.env == {"PLAIN": "text", "NUMBER": "1.10", "FLAG": "yes", "EMPTY": ""}
    assert (spec.secrets, spec.timeout_s, spec.patch, spec.labels) == (
        ("TOKEN",),
        5400.0,
        False,
        {"team": "core"},
    )
    build, test = spec.steps
    assert build.run == "make\nmake check\n"
    assert build.shell == ("bash", "-e", "-o", "pipefail", "-c")
    assert (build.cwd, build.user, build.timeout_s, build.continue_on_error) == ("lib", "root", 90.0, True)
    assert build.secrets == ()
    assert test.name == "python3 -m pytest a b -1 yes"
    assert test.argv == ("python3", "-m", "pytest", "a b", "-1", "yes")
    assert test.secrets is None
    assert test.condition is StepCondition.ALWAYS
    assert spec.artifacts == (
        ArtifactRule("dist/*.whl", "dist-whl", None, False),
        ArtifactRule("build/report.html", "report", 5_000_000, True),
    )
    assert spec.reports == ("reports/**/*.xml",)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{directory: .}", DirectorySource("/somewhere/project")),
        ("{directory: ../x, uncommitted: false}", DirectorySource("/somewhere/project/../x", False)),
        ("{directory: /x, depth: 3}", DirectorySource("/x", True, 3)),
        ("{git: ./repo, depth: 5}", GitSource("/somewhere/project/repo", "", 5)),
        ("{git: 'git@host.example:a/b.git'}", GitSource("git@host.example:a/b.git")),
        ("{git: 'ssh://git@host/a', ref: main}", GitSource("ssh://git@host/a", "main")),
        (
            "{bundle: a.bundle, patch: p.diff, ref: main}",
            BundleSource("/somewhere/project/a.bundle", "main", "/somewhere/project/p.diff"),
        ),
        ("{archive: a.tgz, strip: 1}", ArchiveSource("/somewhere/project/a.tgz", 1)),
    ],
)
def test_sources_are_relative_to_the_file(source: str, expected: object) -> None:
    assert read(f"steps: [{{run: x}}]\nsource: {source}").source == expected


def test_a_name_is_made_where_none_is_given() -> None:
    spec = read(
        "steps: [{run: make all}, {run: make all}, {run: '  '}, {name: x, run: y}]\n"
        "artifacts: [a/b.txt, c/b.txt]"
    )
    assert [step.name for step in spec.steps] == ["make all", "make all (2)", "step 3", "x"]
    assert [rule.name for rule in spec.artifacts] == ["b.txt", "b.txt-2"]
    assert spec.name == "job"


def test_aliases_stand_for_values() -> None:
    spec = read("env: &e {A: one}\nsteps: [{run: x, env: *e}]")
    assert spec.steps[0].env == {"A": "one"}


def test_a_file_is_loaded_with_its_directory(tmp_path: Path) -> None:
    file = tmp_path / "check.yaml"
    file.write_text("\ufeffsteps: [{run: make}]\nsource: {directory: .}\n", encoding="utf-8")
    spec = jobfile.load(file)
    assert spec.name == "check"
    assert spec.source == DirectorySource(str(tmp_path))
