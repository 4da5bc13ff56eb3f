"""``aetherium worker``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer

from aetherium.cli.options import HELP, Json
from aetherium.cli.runtime import Command, execute

if TYPE_CHECKING:
    from aetherium.domain.workers import WorkerStatus

app = typer.Typer(
    context_settings=HELP,
    rich_markup_mode="rich",
    add_completion=False,
    no_args_is_help=True,
    help="Workers: run one on this host, list, drain, remove.",
    epilog="Examples:\n\naetherium worker run\naetherium worker list",
)


Ref = Annotated[str, typer.Argument(metavar="WORKER", help="Id, name, or the begin of an id.")]


@app.command(
    epilog="Example:\n\naetherium --data-dir /srv/worker worker run\n\nSIGTERM drains it: what runs is"
    " finished within `worker_grace_s` seconds, or handed back. See docs/cluster.md."
)
def run(ctx: typer.Context, as_json: Json = False) -> None:
    """Run a worker on this host, in the foreground: it makes VMs and carries tasks out."""

    async def work(command: Command) -> int:
        from aetherium.cli import daemons

        return await daemons.serve(command, "worker", daemons.worker)

    execute(ctx, work, as_json=as_json, connect=False)


@app.command("list", epilog="Examples:\n\naetherium worker list\naetherium worker list --json")
def list_(ctx: typer.Context, as_json: Json = False) -> None:
    """All workers, with what is in use of them."""

    async def work(command: Command) -> None:
        found = await command.client.workers.list()
        if command.output.as_json:
            command.output.json(found)
            return
        command.output.table(
            ("ID", "NAME", "STATE", "TASKS", "CPUS", "MEMORY", "VMS", "DRIVERS", "SEEN"),
            [_row(status) for status in found],
            empty="There are no workers. Start one: aetherium worker run",
        )

    execute(ctx, work, as_json=as_json)


def _row(status: WorkerStatus) -> tuple[str, ...]:
    from aetherium.cli.formats import age

    worker, usage = status.worker, status.usage
    capacity = worker.info.capacity
    return (
        worker.id,
        worker.info.name,
        worker.state.value,
        f"{usage.tasks}/{capacity.tasks}",
        f"{usage.vcpus}/{capacity.vcpus}",
        f"{usage.memory_mib}/{capacity.memory_mib}M",
        str(usage.vms),
        " ".join(worker.info.drivers),
        age(worker.seen_at),
    )


@app.command(epilog="Examples:\n\naetherium worker show host1\naetherium worker show host1 --json")
def show(ctx: typer.Context, ref: Ref, as_json: Json = False) -> None:
    """All about one worker."""

    async def work(command: Command) -> None:
        status = await command.client.workers.get(ref)
        command.output.show(status, lambda _: command.output.facts(_facts(status)))

    execute(ctx, work, as_json=as_json)


def _facts(status: WorkerStatus) -> list[tuple[str, str]]:
    from aetherium.cli.formats import digest, moment, pairs

    worker, usage = status.worker, status.usage
    info, capacity = worker.info, worker.info.capacity
    return [
        ("id", worker.id),
        ("name", info.name),
        ("state", worker.state.value),
        ("address", info.address),
        ("version", info.version),
        ("tasks", f"{usage.tasks} of {capacity.tasks}"),
        ("cpus", f"{usage.vcpus} of {capacity.vcpus}"),
        ("memory", f"{usage.memory_mib} of {capacity.memory_mib} MiB"),
        ("vms", str(usage.vms)),
        ("drivers", ", ".join(info.drivers)),
        ("labels", pairs(info.labels)),
        ("images", ", ".join(digest(image) for image in info.images)),
        ("warm", ", ".join(f"{count} of {digest(image)}" for image, count in info.pooled.items())),
        ("registered", moment(worker.registered_at)),
        ("seen", moment(worker.seen_at)),
        ("lease", moment(worker.lease_until)),
    ]


@app.command(epilog="Example:\n\naetherium worker drain host1")
def drain(ctx: typer.Context, ref: Ref, as_json: Json = False) -> None:
    """Give a worker nothing new; it finishes what it has. Holds after it was started again."""
    _change(ctx, lambda command: command.client.workers.drain(ref), as_json)


@app.command(epilog="Example:\n\naetherium worker activate host1")
def activate(ctx: typer.Context, ref: Ref, as_json: Json = False) -> None:
    """Give a drained worker tasks again."""
    _change(ctx, lambda command: command.client.workers.activate(ref), as_json)


def _change(ctx: typer.Context, call: Callable[[Command], Awaitable[WorkerStatus]], as_json: bool) -> None:
    async def work(command: Command) -> None:
        status = await call(command)
        line = f"{status.worker.info.name} is {status.worker.state}"
        command.output.show(status, lambda console: console.print(line))

    execute(ctx, work, as_json=as_json)


@app.command(epilog="Example:\n\naetherium worker rm host1")
def rm(
    ctx: typer.Context,
    refs: Annotated[list[str], typer.Argument(metavar="WORKER...", help="Ids, names, begins of ids.")],
    as_json: Json = False,
) -> None:
    """Forget workers that are lost or stopped. Their VMs count as failed."""

    async def work(command: Command) -> None:
        for ref in refs:
            await command.client.workers.remove(ref)
        command.output.show({"removed": refs}, lambda console: console.print("\n".join(refs)))

    execute(ctx, work, as_json=as_json)
