"""``aetherium task``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from aetherium.cli import options, taskspec
from aetherium.cli.options import HELP, Json
from aetherium.cli.runtime import Command, execute
from aetherium.domain.errors import DeadlineExceeded, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aetherium.domain.tasks import Task, TaskSpec, TaskState

app = typer.Typer(
    context_settings=HELP,
    rich_markup_mode="rich",
    add_completion=False,
    no_args_is_help=True,
    help="Durable tasks: submit, list, wait, cancel.",
    epilog="Examples:\n\naetherium task submit system.noop --set sleep_s=2 --wait\n"
    "aetherium task list --state queued",
)

Ref = Annotated[str, typer.Argument(metavar="TASK", help="Id, or the begin of one.")]
Refs = Annotated[list[str], typer.Argument(metavar="TASK...", help="Ids, or begins of them.")]


@app.command(
    epilog="Examples:\n\naetherium task submit system.noop --set sleep_s=2 --wait\n"
    "aetherium task submit vm.create --payload @vm.json --priority high\n"
    "aetherium task submit system.noop --in 10m --unique nightly --attempts 5"
)
def submit(
    ctx: typer.Context,
    kind: taskspec.Type,
    payload: taskspec.Payload = None,
    given: taskspec.Set = None,
    priority: taskspec.PriorityOption = "default",
    group: taskspec.Group = "",
    label: taskspec.Label = None,
    at: Annotated[
        str | None, typer.Option("--at", metavar="TIME", help="Not before: 2026-12-24T18:00.")
    ] = None,
    later: Annotated[str | None, typer.Option("--in", metavar="TIME", help="Not before so long.")] = None,
    deadline: Annotated[
        str | None, typer.Option("--deadline", metavar="TIME", help="Dead if it has not ended by then.")
    ] = None,
    after: Annotated[
        list[str] | None, typer.Option("--after", metavar="TASK", help="Only when this one has succeeded.")
    ] = None,
    unique: Annotated[
        str,
        typer.Option(
            "--unique", metavar="KEY", help="Refused while another one with this key has not ended."
        ),
    ] = "",
    unique_for: Annotated[
        str | None,
        typer.Option("--unique-for", metavar="TIME", help="And for so long after it was accepted."),
    ] = None,
    key: Annotated[
        str,
        typer.Option("--key", metavar="KEY", help="Idempotency key: a repeat answers with the first task."),
    ] = "",
    attempts: taskspec.Attempts = None,
    backoff: taskspec.Backoff = None,
    timeout: taskspec.Timeout = None,
    worker: taskspec.Worker = None,
    require: taskspec.Require = None,
    project: taskspec.Project = "default",
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Until it has ended.")] = False,
    as_json: Json = False,
) -> None:
    """Submit a task, and print its id. It is durable then."""

    async def work(command: Command) -> int:
        from datetime import UTC, datetime, timedelta

        from aetherium.domain.tasks import TaskSpec

        if at is not None and later is not None:
            raise InvalidInput("--at and --in say the same.", hint="Give one of them.", field="run_at")
        run_at = None if at is None else options.moment(at, "--at")
        if later is not None:
            run_at = datetime.now(UTC) + timedelta(seconds=options.seconds(later, "--in"))
        spec = TaskSpec(
            kind,
            taskspec.payload(payload, given),
            taskspec.priority(priority),
            taskspec.demand(worker, require),
            taskspec.retry(attempts, backoff),
            timeout_s=taskspec.seconds(timeout, "--timeout"),
            run_at=run_at,
            deadline=None if deadline is None else options.moment(deadline, "--deadline"),
            after=tuple([(await command.client.tasks.get(ref)).id for ref in after or ()]),
            group=group,
            unique_key=unique,
            unique_s=taskspec.seconds(unique_for, "--unique-for") or 0.0,
            labels=options.pairs(label, "--label"),
        )
        return await _submit(command, spec, project, key, wait=wait)

    execute(ctx, work, as_json=as_json)


async def _submit(command: Command, spec: TaskSpec, project: str, key: str, *, wait: bool) -> int:
    from aetherium.cli import taskview

    task = await command.client.tasks.submit(spec, project=project, idempotency_key=key)
    await taskview.warn_if_idle(command, task)
    if wait:
        return _ended(command, await command.client.tasks.wait(task.id))
    command.output.show(task, lambda console: console.print(task.id))
    command.output.note(f"Next: aetherium task wait {task.id}")
    return 0


@app.command(
    "list",
    epilog="Examples:\n\naetherium task list\naetherium task list --state queued --priority high\n"
    "aetherium task list --group night --ids",
)
def list_(
    ctx: typer.Context,
    state: Annotated[list[str] | None, typer.Option("--state", metavar="STATE")] = None,
    kind: Annotated[list[str] | None, typer.Option("--type", "-t", metavar="TYPE")] = None,
    group: Annotated[str, typer.Option("--group", "-g", metavar="NAME")] = "",
    priority: Annotated[str | None, typer.Option("--priority", "-p", metavar="NAME")] = None,
    worker: Annotated[str, typer.Option("--worker", metavar="WORKER")] = "",
    error: Annotated[str, typer.Option("--error", metavar="CODE")] = "",
    project: Annotated[str, typer.Option("--project", metavar="NAME")] = "",
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="The newest N.")] = 50,
    ids: Annotated[bool, typer.Option("--ids", help="Only ids, one per line.")] = False,
    as_json: Json = False,
) -> None:
    """Tasks, newest first."""

    async def work(command: Command) -> None:
        from aetherium.cli import taskview

        found = await command.client.tasks.list(
            states=_states(state),
            types=kind or (),
            group=group,
            priority=None if priority is None else taskspec.priority(priority),
            worker=worker,
            error_code=error,
            project=project,
            limit=limit,
        )
        if command.output.as_json:
            command.output.json(found)
        elif ids:
            print("".join(f"{task.id}\n" for task in found), end="")
        else:
            taskview.table(
                command.output, found, empty="There are no such tasks. See: aetherium task submit --help"
            )

    execute(ctx, work, as_json=as_json)


def _states(given: Sequence[str] | None) -> list[TaskState]:
    from aetherium.domain.tasks import TaskState

    try:
        return [TaskState(name) for name in given or ()]
    except ValueError as error:
        raise InvalidInput(f"{error}.", hint=f"Use: {', '.join(TaskState)}.", field="state") from None


@app.command(epilog="Examples:\n\naetherium task show task_06k\naetherium task show task_06k --json")
def show(ctx: typer.Context, ref: Ref, as_json: Json = False) -> None:
    """All about one task, with its attempts."""

    async def work(command: Command) -> None:
        from aetherium.cli import taskview

        task = await command.client.tasks.get(ref)
        attempts = await command.client.tasks.attempts(task.id)
        command.output.show(
            {"task": task, "attempts": list(attempts)},
            lambda _: command.output.facts(taskview.facts(task, attempts)),
        )

    execute(ctx, work, as_json=as_json)


@app.command(epilog="Examples:\n\naetherium task wait task_06k\naetherium task wait task_06k --timeout 10m")
def wait(
    ctx: typer.Context,
    ref: Ref,
    timeout: Annotated[
        str | None, typer.Option("--timeout", metavar="TIME", help="No longer than this.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Wait until a task has ended. Exit code 0 if it succeeded, 124 if the time ran out, else 1."""

    async def work(command: Command) -> int:
        from aetherium.cli import taskview

        limit = taskspec.seconds(timeout, "--timeout")
        task = await command.client.tasks.get(ref)
        await taskview.warn_if_idle(command, task)
        return _ended(command, await command.client.tasks.wait(task.id, timeout_s=limit))

    execute(ctx, work, as_json=as_json)


def _ended(command: Command, task: Task) -> int:
    """Show how it ended; the exit code for it."""
    from aetherium.domain.tasks import ENDED, TaskState

    if task.state not in ENDED:
        raise DeadlineExceeded(
            f"The task {task.id} is {task.state} yet.",
            hint=task.reason,
            task_id=task.id,
            state=task.state.value,
        )
    why = f": {task.error}" if task.error else ""
    command.output.show(task, lambda console: console.print(f"{task.id} {task.state}{why}", markup=False))
    return 0 if task.state is TaskState.SUCCEEDED and task.ok is not False else 1


@app.command(epilog="Examples:\n\naetherium task cancel task_06k\naetherium task cancel --group night")
def cancel(
    ctx: typer.Context,
    refs: Annotated[
        list[str] | None, typer.Argument(metavar="[TASK...]", help="Ids, or begins of them.")
    ] = None,
    group: Annotated[str, typer.Option("--group", "-g", metavar="NAME", help="All of this group.")] = "",
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for people.")] = "",
    as_json: Json = False,
) -> None:
    """Cancel tasks: what waits at once, what runs soon."""

    async def work(command: Command) -> None:
        if bool(refs) == bool(group):
            raise InvalidInput(
                "It is not clear which tasks are meant.", hint="Give ids, or --group.", field="task"
            )
        if group:
            changed = await command.client.tasks.cancel_all(group=group, reason=reason)
            command.output.show({"changed": changed}, lambda console: console.print(f"{changed} cancelled"))
            return
        tasks = [await command.client.tasks.cancel(ref, reason=reason) for ref in refs or ()]
        lines = "\n".join(f"{task.id} is {task.state}" for task in tasks)
        command.output.show({"tasks": tasks}, lambda console: console.print(lines))

    execute(ctx, work, as_json=as_json)


@app.command(epilog="Examples:\n\naetherium task types\naetherium task types --json")
def types(ctx: typer.Context, as_json: Json = False) -> None:
    """The types there are, and what is in their payloads; with --json as JSON Schemas."""

    async def work(command: Command) -> None:
        found = await command.client.tasks.types()
        if command.output.as_json:
            command.output.json(found)
            return
        command.output.table(
            ("TYPE", "DOES", "ATTEMPTS", "PAYLOAD"),
            [
                (
                    kind.name,
                    kind.summary if kind.public else f"{kind.summary} (made by the platform only)",
                    str(kind.retry.max_attempts),
                    ", ".join(_names(kind.payload.get("properties"))),
                )
                for kind in found
            ],
            empty="There are no types.",
        )

    execute(ctx, work, as_json=as_json)


def _names(properties: object) -> list[str]:
    return list(properties) if isinstance(properties, dict) else []
