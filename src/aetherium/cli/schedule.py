"""``aetherium schedule``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from aetherium.cli import options, taskspec
from aetherium.cli.options import HELP, Json
from aetherium.cli.runtime import Command, execute

if TYPE_CHECKING:
    from aetherium.domain.schedules import Schedule

app = typer.Typer(
    context_settings=HELP,
    rich_markup_mode="rich",
    add_completion=False,
    no_args_is_help=True,
    help="Tasks made by cron or at an interval.",
    epilog="Examples:\n\naetherium schedule create tick system.noop --every 10m\naetherium schedule list",
)

Ref = Annotated[str, typer.Argument(metavar="SCHEDULE", help="Id, name, or the begin of an id.")]


@app.command(
    epilog="Examples:\n\naetherium schedule create tick system.noop --every 10m\n"
    "aetherium schedule create night system.noop --cron '30 2 * * *' --zone Europe/Zurich --set sleep_s=1"
)
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME")],
    kind: taskspec.Type,
    cron: Annotated[str, typer.Option("--cron", metavar="FIELDS", help="minute hour day month weekday")] = "",
    every: Annotated[
        str | None, typer.Option("--every", metavar="TIME", help="An interval: 10m, 1d …")
    ] = None,
    zone: Annotated[str, typer.Option("--zone", metavar="ZONE", help="Time zone of --cron.")] = "UTC",
    no_overlap: Annotated[
        bool, typer.Option("--no-overlap", help="Leave a time out while the last task has not ended.")
    ] = False,
    catch_up: Annotated[
        bool, typer.Option("--catch-up", help="Make good every time that passed while nothing ran.")
    ] = False,
    payload: taskspec.Payload = None,
    given: taskspec.Set = None,
    priority: taskspec.PriorityOption = "default",
    group: taskspec.Group = "",
    label: taskspec.Label = None,
    attempts: taskspec.Attempts = None,
    backoff: taskspec.Backoff = None,
    timeout: taskspec.Timeout = None,
    worker: taskspec.Worker = None,
    require: taskspec.Require = None,
    project: taskspec.Project = "default",
    as_json: Json = False,
) -> None:
    """Create a schedule, and print its next time."""

    async def work(command: Command) -> None:
        from aetherium.cli.formats import moment
        from aetherium.domain.schedules import ScheduleSpec
        from aetherium.domain.tasks import TaskSpec

        task = TaskSpec(
            kind,
            taskspec.payload(payload, given),
            taskspec.priority(priority),
            taskspec.demand(worker, require),
            taskspec.retry(attempts, backoff),
            timeout_s=taskspec.seconds(timeout, "--timeout"),
            group=group,
            labels=options.pairs(label, "--label"),
        )
        every_s = taskspec.seconds(every, "--every")
        spec = ScheduleSpec(task, cron, every_s, zone, overlap=not no_overlap, catch_up=catch_up)
        made = await command.client.schedules.create(name, spec, project=project)
        command.output.show(made, lambda console: console.print(f"{made.id} next {moment(made.next_at)}"))

    execute(ctx, work, as_json=as_json)


@app.command("list", epilog="Examples:\n\naetherium schedule list\naetherium schedule list --json")
def list_(ctx: typer.Context, as_json: Json = False) -> None:
    """All schedules, by name."""

    async def work(command: Command) -> None:
        from aetherium.cli.formats import moment

        found = await command.client.schedules.list()
        if command.output.as_json:
            command.output.json(found)
            return
        command.output.table(
            ("ID", "NAME", "TASK", "WHEN", "STATE", "NEXT", "LAST"),
            [
                (
                    item.id,
                    item.name,
                    item.spec.task.type,
                    _when(item),
                    "paused" if item.paused else "active",
                    moment(item.next_at),
                    moment(item.last_at),
                )
                for item in found
            ],
            empty="There are no schedules. Create one: aetherium schedule create NAME TYPE --every 10m",
        )

    execute(ctx, work, as_json=as_json)


def _when(schedule: Schedule) -> str:
    from aetherium.cli.formats import duration

    spec = schedule.spec
    return f"{spec.cron} {spec.zone}" if spec.every_s is None else f"every {duration(spec.every_s)}"


@app.command(epilog="Examples:\n\naetherium schedule show night\naetherium schedule show night --json")
def show(ctx: typer.Context, ref: Ref, as_json: Json = False) -> None:
    """All about one schedule."""

    async def work(command: Command) -> None:
        found = await command.client.schedules.get(ref)
        command.output.show(found, lambda _: command.output.facts(_facts(found)))

    execute(ctx, work, as_json=as_json)


def _facts(schedule: Schedule) -> list[tuple[str, str]]:
    import json

    from aetherium.cli.formats import moment

    spec = schedule.spec
    return [
        ("id", schedule.id),
        ("name", schedule.name),
        ("state", "paused" if schedule.paused else "active"),
        ("when", _when(schedule)),
        ("next", moment(schedule.next_at)),
        ("last", moment(schedule.last_at)),
        ("last task", schedule.last_task_id or ""),
        ("overlap", "allowed" if spec.overlap else "left out"),
        ("missed", "each made good" if spec.catch_up else "the latest made good"),
        ("task", spec.task.type),
        ("priority", spec.task.priority.value),
        ("payload", json.dumps(dict(spec.task.payload), ensure_ascii=False)),
        ("project", schedule.project_id),
        ("created", moment(schedule.created_at)),
    ]


@app.command(epilog="Example:\n\naetherium schedule pause night")
def pause(ctx: typer.Context, ref: Ref, as_json: Json = False) -> None:
    """Let a schedule make no tasks until it is resumed."""

    async def work(command: Command) -> None:
        found = await command.client.schedules.pause(ref)
        command.output.show(found, lambda console: console.print(f"{found.name} is paused"))

    execute(ctx, work, as_json=as_json)


@app.command(epilog="Example:\n\naetherium schedule resume night")
def resume(ctx: typer.Context, ref: Ref, as_json: Json = False) -> None:
    """Let it go on with its next time."""

    async def work(command: Command) -> None:
        from aetherium.cli.formats import moment

        found = await command.client.schedules.resume(ref)
        line = f"{found.name} next {moment(found.next_at)}"
        command.output.show(found, lambda console: console.print(line))

    execute(ctx, work, as_json=as_json)


@app.command(epilog="Example:\n\naetherium schedule run night")
def run(ctx: typer.Context, ref: Ref, as_json: Json = False) -> None:
    """Make its task now, beside its times, and print the task's id."""

    async def work(command: Command) -> None:
        task = await command.client.schedules.run_now(ref)
        command.output.show(task, lambda console: console.print(task.id))

    execute(ctx, work, as_json=as_json)


@app.command(epilog="Example:\n\naetherium schedule rm night")
def rm(
    ctx: typer.Context,
    refs: Annotated[list[str], typer.Argument(metavar="SCHEDULE...", help="Ids, names, begins of ids.")],
    as_json: Json = False,
) -> None:
    """Remove schedules; the tasks that they have made stay."""

    async def work(command: Command) -> None:
        for ref in refs:
            await command.client.schedules.delete(ref)
        command.output.show({"removed": refs}, lambda console: console.print("\n".join(refs)))

    execute(ctx, work, as_json=as_json)
