"""``aetherium project``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from aetherium.cli import options
from aetherium.cli.options import HELP, Json
from aetherium.cli.runtime import Command, execute
from aetherium.domain.errors import InvalidInput

if TYPE_CHECKING:
    from aetherium.domain.projects import Quota

app = typer.Typer(
    context_settings=HELP,
    rich_markup_mode="rich",
    add_completion=False,
    no_args_is_help=True,
    help="Tenants and their quotas.",
    epilog="Examples:\n\naetherium project create team-a\naetherium project quota team-a --tasks 20",
)

Tasks = Annotated[str | None, typer.Option("--tasks", metavar="N", help="Tasks at once.")]
Vms = Annotated[str | None, typer.Option("--vms", metavar="N", help="VMs at once.")]
Cpus = Annotated[str | None, typer.Option("--cpus", metavar="N", help="Virtual processors at once.")]
Memory = Annotated[str | None, typer.Option("--memory", "-m", metavar="SIZE", help="Of its VMs at once.")]
PerMinute = Annotated[
    str | None, typer.Option("--per-minute", metavar="N", help="Tasks accepted per minute; more are refused.")
]
Waiting = Annotated[
    str | None, typer.Option("--waiting", metavar="N", help="Tasks that have not begun; more are refused.")
]
Disk = Annotated[str | None, typer.Option("--disk", metavar="SIZE", help="Of its VMs at once.")]
Requests = Annotated[
    str | None, typer.Option("--requests", metavar="N", help="Requests per minute; more are refused.")
]


@app.command("list", epilog="Examples:\n\naetherium project list\naetherium project list --json")
def list_(ctx: typer.Context, as_json: Json = False) -> None:
    """All projects, with their quotas."""

    async def work(command: Command) -> None:
        from aetherium.cli.formats import age

        found = await command.client.projects.list()
        if command.output.as_json:
            command.output.json(found)
            return
        command.output.table(
            (
                "ID",
                "NAME",
                "TASKS",
                "VMS",
                "CPUS",
                "MEMORY",
                "PER MINUTE",
                "WAITING",
                "DISK",
                "REQUESTS",
                "AGE",
            ),
            [(item.id, item.name, *_cells(item.quota), age(item.created_at)) for item in found],
            empty="There are no projects.",
        )

    execute(ctx, work, as_json=as_json)


def _cells(quota: Quota) -> tuple[str, ...]:
    limits = (
        quota.tasks,
        quota.vms,
        quota.vcpus,
        quota.memory_mib,
        quota.tasks_per_minute,
        quota.waiting,
        quota.disk_mib,
        quota.requests_per_minute,
    )
    return tuple("-" if limit is None else str(limit) for limit in limits)


@app.command(
    epilog="Examples:\n\naetherium project create team-a\n"
    "aetherium project create team-a --tasks 20 --memory 8G"
)
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME")],
    tasks: Tasks = None,
    vms: Vms = None,
    cpus: Cpus = None,
    memory: Memory = None,
    per_minute: PerMinute = None,
    waiting: Waiting = None,
    disk: Disk = None,
    requests: Requests = None,
    as_json: Json = False,
) -> None:
    """Create a project, and print its id."""

    async def work(command: Command) -> None:
        from aetherium.domain.projects import Quota

        quota = _changed(Quota(), tasks, vms, cpus, memory, per_minute, waiting, disk, requests)
        made = await command.client.projects.create(name, quota=quota)
        command.output.show(made, lambda console: console.print(made.id))

    execute(ctx, work, as_json=as_json)


@app.command(
    epilog="Examples:\n\naetherium project quota team-a\n"
    "aetherium project quota team-a --tasks 20 --waiting 1000\n"
    "aetherium project quota team-a --tasks none"
)
def quota(
    ctx: typer.Context,
    ref: Annotated[str, typer.Argument(metavar="PROJECT", help="Id or name.")],
    tasks: Tasks = None,
    vms: Vms = None,
    cpus: Cpus = None,
    memory: Memory = None,
    per_minute: PerMinute = None,
    waiting: Waiting = None,
    disk: Disk = None,
    requests: Requests = None,
    as_json: Json = False,
) -> None:
    """Show what a project may use, or change it; `none`: no limit. What is not given stays."""

    async def work(command: Command) -> None:
        found = await command.client.projects.get(ref)
        wanted = _changed(found.quota, tasks, vms, cpus, memory, per_minute, waiting, disk, requests)
        if wanted != found.quota:
            found = await command.client.projects.set_quota(found.id, wanted)
        names = (
            "tasks",
            "vms",
            "cpus",
            "memory (MiB)",
            "tasks per minute",
            "waiting",
            "disk (MiB)",
            "requests per minute",
        )
        facts = [("project", found.name), *zip(names, _cells(found.quota), strict=True)]
        command.output.show(found, lambda _: command.output.facts(facts))

    execute(ctx, work, as_json=as_json)


def _changed(
    quota: Quota,
    tasks: str | None,
    vms: str | None,
    cpus: str | None,
    memory: str | None,
    per_minute: str | None,
    waiting: str | None,
    disk: str | None = None,
    requests: str | None = None,
) -> Quota:
    """The quota with what was given."""
    given = {
        "tasks": tasks,
        "vms": vms,
        "vcpus": cpus,
        "memory_mib": memory,
        "tasks_per_minute": per_minute,
        "waiting": waiting,
        "disk_mib": disk,
        "requests_per_minute": requests,
    }
    return replace(quota, **{name: _limit(name, text) for name, text in given.items() if text is not None})


def _limit(name: str, text: str) -> int | None:
    if text == "none":
        return None
    if name in ("memory_mib", "disk_mib"):
        return options.mebibytes(text, f"--{name.removesuffix('_mib')}")
    if not text.isdecimal():
        raise InvalidInput(f"The quota of {name} is {text!r}.", hint="Give a number, or none.", field=name)
    return int(text)
