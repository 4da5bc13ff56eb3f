"""`aetherium run` with everything real but the VM: what comes back from a repository."""

from __future__ import annotations

import json
from pathlib import Path

from aetherium.client import AsyncClient
from aetherium.domain.errors import NotFound
from aetherium.process import run
from tests.e2e.conftest import CLI

_JOB = """
source: {directory: repo}
workdir: %s
steps:
  - name: build it
    run: |
      echo built; echo careful >&2
      echo two > new.txt
      mkdir -p dist; echo artifact > dist/a.txt
  - name: check
    run: |
      echo '<testsuite name="s"><testcase name="good"/><testcase name="bad"><failure message="no"/>' > r.xml
      echo '</testcase></testsuite>' >> r.xml
      exit 3
  - name: never
    run: "true"
  - name: tidy up
    if: always
    run: echo tidy
artifacts: [dist/a.txt, r.xml]
reports: {junit: r.xml}
"""


async def _job(tmp_path: Path) -> Path:
    """A job file beside a repository with a commit and an uncommitted change."""
    repo = tmp_path / "repo"
    repo.mkdir()
    (repo / "old.txt").write_text("one\n")
    identity = ("-c", "user.name=n", "-c", "user.email=e@example.org")
    for words in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "first")):
        await run(["git", "-C", str(repo), *identity, *words])
    (repo / "old.txt").write_text("changed before\n")
    file = tmp_path / "job.yaml"
    file.write_text(_JOB % (tmp_path / "work"))
    return file


async def test_logs_artifacts_tests_and_patches_come_back(cli: CLI, tmp_path: Path) -> None:
    file, out = await _job(tmp_path), tmp_path / "out"
    done = await cli("run", "-f", str(file), "--output", str(out))
    shown = done.stderr.decode()
    assert (done.exit_code, done.stdout) == (3, b"built\ntidy\n"), shown
    for text in (
        "source …", "vm (", "upload (", "▶ build it\n", "careful\n", "✓ build it passed (", "▶ check\n",
        "✗ check failed (exit code 3, ", "- never skipped\n", "✓ tidy up passed (",
        "artifact artifacts/a.txt (9B)", "tests: 1 passed, 1 failed, 0 skipped", "patch: ", "s bad: no",
        f"logs: {out / 'logs'}\n", f"patch: {out / 'changes.patch'}\n",
    ):  # fmt: skip
        assert text in shown, (text, shown)
    logs = {path.name: path.read_text() for path in (out / "logs").iterdir()}
    assert sorted(logs) == ["01-build-it.log", "02-tidy-up.log"]
    assert sorted(logs["01-build-it.log"].splitlines()) == ["built", "careful"]
    whole, delta = ((out / name).read_text() for name in ("changes.patch", "delta.patch"))
    assert "changed before" in whole
    assert "changed before" not in delta
    assert "+two" in delta
    record = json.loads((out / "job.json").read_text())
    assert (record["state"], record["tests"]["failed"]) == ("failed", 1)
    (job,) = await cli.json("job", "list")
    events = [
        json.loads(line) for line in (await cli("job", "logs", job["id"], "--json")).stdout.splitlines()
    ]
    assert events[-1]["data"]["exit_code"] == 3


async def test_a_log_is_read_by_the_name_that_is_listed(cli: CLI, tmp_path: Path) -> None:
    file = await _job(tmp_path)
    async with cli.daemon():
        await cli("run", "-f", str(file))
        (job,) = await cli.json("job", "list")
        async with AsyncClient.unix(cli.data_dir / "run" / "aetherium.sock") as client:
            (first, second) = await client.jobs.logs(job["id"])
            assert (second.name, second.size_bytes) == ("02-tidy-up.log", 5)
            assert b"".join([piece async for piece in client.jobs.log(job["id"], second.name)]) == b"tidy\n"
            for wrong in ("none.log", "../events.ndjson"):
                assert await _status(client, job["id"], wrong) == "not_found", (wrong, first)


async def _status(client: AsyncClient, job_id: str, name: str) -> str:
    try:
        async for _ in client.jobs.log(job_id, name):
            return "found"
    except NotFound as error:
        return error.code
    return "empty"
