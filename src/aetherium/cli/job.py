"""``aetherium job``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aetherium.cli.options import HELP, Json
from aetherium.cli.runtime import Command, execute
from aetherium.domain.errors import InvalidInput

if TYPE_CHECKING:
    from aetherium.domain.jobs import Job

app = typer.Typer(
    context_settings=HELP,
    rich_markup_mode="rich",
    add_completion=False,
    no_args_is_help=True,
    help="Jobs: list, logs, artifacts, cancel.",
    epilog="Start one: aetherium run -f job.yaml",
)

Ref = Annotated[str, typer.Argument(metavar="JOB", help="Id, or the begin of one.")]


@app.command("list", epilog="Examples:\n\naetherium job list\naetherium job list --json")
def list_(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="The newest N.")] = 50,
    as_json: Json = False,
) -> None:
    """Jobs, newest first."""

    async def work(command: Command) -> None:
        from aetherium.cli.formats import age, duration, safe

        found = (await command.client.jobs.list())[:limit]
        if command.output.as_json:
            command.output.json(found)
            return
        command.output.table(
            ("ID", "NAME", "STATE", "EXIT", "TOOK", "AGE"),
            [
                (
                    job.id,
                    safe(job.spec.name),
                    job.state.value,
                    str(job.exit_code) if job.ended_at else "",
                    duration((job.ended_at - job.started_at).total_seconds())
                    if job.ended_at and job.started_at
                    else "",
                    age(job.created_at),
                )
                for job in found
            ],
            empty="There are no jobs. Run one: aetherium run -- uname -a",
        )

    execute(ctx, work, as_json=as_json)


@app.command(epilog="Examples:\n\naetherium job get job_06k\naetherium job get job_06k --json")
def get(ctx: typer.Context, ref: Ref, as_json: Json = False) -> None:
    """All about one job."""

    async def work(command: Command) -> None:
        job = await command.client.jobs.get(ref)
        command.output.show(job, lambda _: command.output.facts(_facts(job)))

    execute(ctx, work, as_json=as_json)


def _facts(job: Job) -> list[tuple[str, str]]:
    from aetherium.cli.formats import duration, moment, safe, size

    facts = [
        ("id", job.id),
        ("name", safe(job.spec.name)),
        ("state", job.state.value),
        ("error", safe(job.error)),
        ("image", job.spec.image),
        ("commit", job.commit),
        ("vm", job.vm_id or ""),
        ("created", moment(job.created_at)),
        ("ended", moment(job.ended_at)),
    ]
    for step in job.steps:
        took = f", {duration(step.result.duration_s)}" if step.result else ""
        code = f", exit code {step.result.shell_code}" if step.result else ""
        facts.append((f"step {safe(step.name)}", f"{step.outcome}{code}{took}"))
    facts += [(f"artifact {safe(a.name)}", f"{safe(a.path)} ({size(a.size_bytes)})") for a in job.artifacts]
    if job.tests is not None:
        tests = job.tests
        bad = tests.failed + tests.errors
        facts.append(("tests", f"{tests.passed} passed, {bad} failed, {tests.skipped} skipped"))
    if job.patch is not None:
        facts.append(("patch", f"{job.patch.files} files, +{job.patch.insertions} -{job.patch.deletions}"))
    facts += [(f"time {safe(item.name)}", duration(item.duration_s)) for item in job.timings]
    return facts


@app.command(
    epilog="Examples:\n\naetherium job logs job_06k\naetherium job logs job_06k --follow --step test"
)
def logs(
    ctx: typer.Context,
    ref: Ref,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until it has ended.")] = False,
    step: Annotated[str | None, typer.Option("--step", metavar="NAME", help="Only this step.")] = None,
    as_json: Json = False,
) -> None:
    """What a job wrote; as JSON, all of its events, one per line."""

    async def work(command: Command) -> int:
        from aetherium.cli.jobview import JobView

        job = await command.client.jobs.get(ref)
        if step is not None and step not in {known.name for known in job.spec.steps}:
            names = ", ".join(known.name for known in job.spec.steps)
            raise InvalidInput(f"The job has no step {step!r}.", hint=f"Its steps: {names}.", field="step")
        view = JobView(command.output, headers=step is None)
        last = None if follow or job.ended_at else await _written(command, job)
        async with command.client.jobs.events(job.id) as events:
            async for event in events:
                if step is None or event.data.get("step") == step:
                    await view.show(event)
                if last is not None and event.seq >= last:
                    break
        return 0

    execute(ctx, work, as_json=as_json)


async def _written(command: Command, job: Job) -> int:
    """The number of the newest event: what comes later is not waited for."""
    import asyncio

    newest = 0
    try:
        async with command.client.jobs.events(job.id) as events, asyncio.timeout(None) as quiet:
            async for event in events:
                newest = event.seq
                # The journal comes in one go; a pause means that the rest has yet to happen.
                quiet.reschedule(asyncio.get_running_loop().time() + 0.3)
    except TimeoutError:
        return newest
    return newest


@app.command(epilog="Example:\n\naetherium job cancel job_06k")
def cancel(
    ctx: typer.Context,
    ref: Ref,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Until its VM is gone.")] = False,
    as_json: Json = False,
) -> None:
    """Ask a job to end."""

    async def work(command: Command) -> None:
        job = await command.client.jobs.cancel(ref)
        if wait:
            job = await command.client.jobs.wait(job.id)
        state = "is being cancelled" if job.ended_at is None else f"is {job.state}"
        command.output.show(job, lambda console: console.print(f"{job.id} {state}"))

    execute(ctx, work, as_json=as_json)


@app.command(
    epilog="Examples:\n\naetherium job artifacts job_06k\naetherium job artifacts job_06k --output out"
)
def artifacts(
    ctx: typer.Context,
    ref: Ref,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Save them there, with logs, patch."),
    ] = None,
    as_json: Json = False,
) -> None:
    """What a job brought back: list it, or save it."""

    async def work(command: Command) -> None:
        from aetherium.cli.formats import safe, size
        from aetherium.cli.jobs import save

        job = await command.client.jobs.get(ref)
        if output is not None:
            saved = await save(command, job, output)
            command.output.show(
                {"saved": saved}, lambda console: console.print("\n".join(saved.values()), soft_wrap=True)
            )
        elif command.output.as_json:
            command.output.json({"artifacts": list(job.artifacts), "patch": job.patch})
        else:
            command.output.table(
                ("NAME", "PATH", "SIZE", "SHA256"),
                [
                    (safe(item.name), safe(item.path), size(item.size_bytes), item.sha256[:12])
                    for item in job.artifacts
                ],
                empty="The job has no artifacts.",
            )

    execute(ctx, work, as_json=as_json)


@app.command(epilog="Examples:\n\naetherium job rm job_06k\naetherium job rm job_06k job_07m")
def rm(
    ctx: typer.Context,
    refs: Annotated[list[str], typer.Argument(metavar="JOB...", help="Ids, or begins of them.")],
    as_json: Json = False,
) -> None:
    """Forget jobs that have ended, with their logs and artifacts."""

    async def work(command: Command) -> None:
        for ref in refs:
            await command.client.jobs.delete(ref)
        command.output.show({"removed": refs}, lambda console: console.print("\n".join(refs)))

    execute(ctx, work, as_json=as_json)
