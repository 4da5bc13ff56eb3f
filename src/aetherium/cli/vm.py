"""``aetherium vm``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from aetherium.cli import options, vm_copy, vm_exec
from aetherium.cli.options import HELP, Json, Ref, Refs
from aetherium.cli.runtime import Command, execute
from aetherium.domain.errors import AetheriumError, InvalidInput

if TYPE_CHECKING:
    from aetherium.domain.vms import VM, VMMetrics, VMSpec

app = typer.Typer(
    context_settings=HELP,
    rich_markup_mode="rich",
    add_completion=False,
    no_args_is_help=True,
    help="Create VMs, run commands in them, copy files, snapshot, fork.",
    epilog="Examples:\n\naetherium vm create --name box\naetherium vm exec box -- uname -a\n"
    "aetherium vm cp box:/etc/os-release .\naetherium vm rm box",
)


@app.command(
    epilog="Examples:\n\naetherium vm create --name box\n"
    "aetherium vm create --cpus 2 --memory 2G --ttl 1h --network open\n"
    "aetherium vm create --snapshot ready"
)
def create(
    ctx: typer.Context,
    image: options.Image = None,
    name: Annotated[str | None, typer.Option("--name", "-n", help="Becomes the host name.")] = None,
    snapshot: Annotated[
        str | None, typer.Option("--snapshot", metavar="SNAPSHOT", help="Restore this one.")
    ] = None,
    cpus: options.Cpus = None,
    memory: options.Memory = None,
    disk: options.Disk = None,
    network: options.Network = None,
    allow: options.Allow = None,
    env: options.Env = None,
    label: Annotated[list[str] | None, typer.Option("--label", "-l", metavar="K=V")] = None,
    ttl: Annotated[str | None, typer.Option("--ttl", metavar="TIME", help="Delete it after this.")] = None,
    idle: Annotated[
        str | None, typer.Option("--idle", metavar="TIME", help="Act after this long without use.")
    ] = None,
    idle_action: Annotated[str, typer.Option("--idle-action", help="pause or delete.")] = "pause",
    driver: options.Driver = None,
    as_json: Json = False,
) -> None:
    """Create a VM, and print its id. It lives until it is removed or its time has come."""

    async def work(command: Command) -> None:
        from aetherium.domain.vms import VMSpec

        settings = command.settings
        spec = VMSpec(
            image=image or settings.image,
            name=name,
            driver=driver or "auto",
            resources=options.resources(settings.resources, cpus, memory, disk),
            network=options.network(network, allow),
            ttl_s=None if ttl is None else options.seconds(ttl, "ttl"),
            idle_timeout_s=None if idle is None else options.seconds(idle, "idle"),
            idle_action=idle_action,
            labels=labels(label),
            env=options.environment(env),
        )
        await _create(command, spec, snapshot)

    execute(ctx, work, as_json=as_json)


async def _create(command: Command, spec: VMSpec, snapshot: str | None) -> None:
    with command.output.progress("Creating a VM") as update:
        vm = await command.client.vms.create(
            spec, snapshot=snapshot, progress=lambda step: update(step, None)
        )
    command.output.show(vm, lambda console: console.print(vm.id))
    command.output.note(f"Next: aetherium vm shell {vm.spec.name or vm.id}")


def labels(given: Sequence[str] | None) -> dict[str, str]:
    """``K=V``; ``K`` alone has an empty value."""
    return {key: value for key, _, value in (item.partition("=") for item in given or ())}


@app.command("list", epilog="Examples:\n\naetherium vm list\naetherium vm list --label team=a --json")
def list_(
    ctx: typer.Context,
    label: Annotated[list[str] | None, typer.Option("--label", "-l", metavar="K=V")] = None,
    ids: Annotated[bool, typer.Option("--ids", help="Only ids, one per line.")] = False,
    as_json: Json = False,
) -> None:
    """All VMs, newest first."""

    async def work(command: Command) -> None:
        from aetherium.cli.formats import age, digest

        vms = await command.client.vms.list(labels=labels(label))
        if command.output.as_json:
            command.output.json(vms)
        elif ids:
            print("".join(f"{vm.id}\n" for vm in vms), end="")
        else:
            command.output.table(
                ("ID", "NAME", "STATE", "IMAGE", "CPUS", "MEMORY", "DRIVER", "AGE"),
                [
                    (
                        vm.id,
                        vm.spec.name or "",
                        vm.state.value,
                        digest(vm.spec.image) if vm.spec.image.startswith("sha256:") else vm.spec.image,
                        str(vm.spec.resources.vcpus),
                        f"{vm.spec.resources.memory_mib}M",
                        vm.driver,
                        age(vm.created_at),
                    )
                    for vm in vms
                ],
                empty="There are no VMs. Create one: aetherium vm create --name box",
            )

    execute(ctx, work, as_json=as_json)


@app.command(epilog="Examples:\n\naetherium vm get box\naetherium vm get box --json")
def get(ctx: typer.Context, ref: Ref, as_json: Json = False) -> None:
    """All about one VM."""

    async def work(command: Command) -> None:
        vm = await command.client.vms.get(ref)
        command.output.show(vm, lambda _: command.output.facts(_facts(vm)))

    execute(ctx, work, as_json=as_json)


def _facts(vm: VM) -> list[tuple[str, str]]:
    from aetherium.cli.formats import age, digest, duration, moment, pairs

    spec, size = vm.spec, vm.spec.resources
    allow = f" ({', '.join(spec.network.allow)})" if spec.network.allow else ""
    idle = "" if spec.idle_timeout_s is None else f"{spec.idle_action} after {duration(spec.idle_timeout_s)}"
    return [
        ("id", vm.id),
        ("name", spec.name or ""),
        ("state", vm.state.value),
        ("reason", vm.reason),
        ("image", f"{spec.image} ({digest(vm.image_digest)})"),
        ("snapshot", vm.snapshot_id or ""),
        ("driver", vm.driver),
        ("size", f"{size.vcpus} vCPU, {size.memory_mib} MiB memory, {size.disk_mib} MiB disk"),
        ("network", f"{spec.network.mode}{allow}"),
        ("created", f"{moment(vm.created_at)} ({age(vm.created_at)} ago)"),
        ("last used", f"{moment(vm.last_active_at)} ({age(vm.last_active_at)} ago)"),
        ("time to live", "" if spec.ttl_s is None else duration(spec.ttl_s)),
        ("when idle", idle),
        ("labels", pairs(spec.labels)),
        ("environment", pairs(spec.env)),
    ]


def _one(ctx: typer.Context, ref: str, verb: str, *, as_json: bool, grace_s: float | None = None) -> None:
    async def work(command: Command) -> None:
        vms = command.client.vms
        calls = {
            "pause": lambda: vms.pause(ref),
            "resume": lambda: vms.resume(ref),
            "stop": lambda: vms.stop(ref) if grace_s is None else vms.stop(ref, grace_s=grace_s),
        }
        with command.output.progress(f"{verb.capitalize()} {ref}"):
            vm = await calls[verb]()
        command.output.show(vm, lambda console: console.print(f"{vm.id} is {vm.state}"))

    execute(ctx, work, as_json=as_json)


@app.command(epilog="Example:\n\naetherium vm pause box")
def pause(ctx: typer.Context, ref: Ref, as_json: Json = False) -> None:
    """Stop its processors; memory and disk stay."""
    _one(ctx, ref, "pause", as_json=as_json)


@app.command(epilog="Example:\n\naetherium vm resume box")
def resume(ctx: typer.Context, ref: Ref, as_json: Json = False) -> None:
    """Let a paused VM go on; its clock is set."""
    _one(ctx, ref, "resume", as_json=as_json)


@app.command(epilog="Examples:\n\naetherium vm stop box\naetherium vm stop box --grace 0")
def stop(
    ctx: typer.Context,
    ref: Ref,
    grace: Annotated[
        float | None, typer.Option("--grace", metavar="SECONDS", min=0, help="For a clean power-off.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Power off cleanly, then by force. The VM's record and console stay until it is removed."""
    _one(ctx, ref, "stop", as_json=as_json, grace_s=grace)


@app.command(epilog="Examples:\n\naetherium vm extend box 2h\naetherium vm extend box never")
def extend(
    ctx: typer.Context,
    ref: Ref,
    ttl: Annotated[str, typer.Argument(metavar="TIME", help="From now on: 30m, 2h, 1d, or never.")],
    as_json: Json = False,
) -> None:
    """Set how long a VM lives from now on."""

    async def work(command: Command) -> None:
        ttl_s = None if ttl == "never" else options.seconds(ttl, "ttl")
        vm = await command.client.vms.extend(ref, ttl_s)
        command.output.show(
            vm, lambda console: console.print(f"{vm.id} lives {'on' if ttl_s is None else f'for {ttl} more'}")
        )

    execute(ctx, work, as_json=as_json)


@app.command(epilog="Examples:\n\naetherium vm fork box\naetherium vm fork box --count 4\n"
             "aetherium vm fork box --name a --name b")  # fmt: skip
def fork(
    ctx: typer.Context,
    ref: Ref,
    count: Annotated[int | None, typer.Option("--count", "-c", metavar="N", min=1)] = None,
    name: Annotated[list[str] | None, typer.Option("--name", "-n", help="One for each copy.")] = None,
    as_json: Json = False,
) -> None:
    """Copy a running VM, memory included, and print the ids. Each copy has an identity of its own."""

    async def work(command: Command) -> None:
        names = tuple(name or ())
        if names and count is not None and count != len(names):
            raise InvalidInput(
                f"{count} copies were asked for, with {len(names)} names.", hint="Leave --count out."
            )
        with command.output.progress(f"Forking {ref}"):
            vms = await command.client.vms.fork(ref, count or len(names) or 1, names=names)
        command.output.show(list(vms), lambda console: console.print("\n".join(vm.id for vm in vms)))

    execute(ctx, work, as_json=as_json)


@app.command(epilog="Examples:\n\naetherium vm snapshot box\naetherium vm snapshot box --name ready")
def snapshot(
    ctx: typer.Context,
    ref: Ref,
    name: Annotated[str | None, typer.Option("--name", "-n")] = None,
    as_json: Json = False,
) -> None:
    """Keep memory, disk and devices of a VM, to make VMs from later; print the snapshot's id."""

    async def work(command: Command) -> None:
        with command.output.progress(f"Taking a snapshot of {ref}"):
            made = await command.client.snapshots.create(ref, name=name)
        command.output.show(made, lambda console: console.print(made.id))
        command.output.note(f"Next: aetherium vm create --snapshot {made.name or made.id}")

    execute(ctx, work, as_json=as_json)


@app.command(epilog="Examples:\n\naetherium vm rm box\naetherium vm rm a b c\naetherium vm rm --all")
def rm(
    ctx: typer.Context,
    refs: Annotated[list[str] | None, typer.Argument(metavar="VM...")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every VM.")] = False,
    as_json: Json = False,
) -> None:
    """Remove VMs, whatever they do, and all that they have on this host."""

    async def work(command: Command) -> int:
        if bool(refs) == all_:
            raise InvalidInput(
                "No VM was named." if not refs else "VMs were named, and --all was given.",
                hint="Name VMs, or write --all.",
            )
        chosen = (
            [vm.id for vm in await command.client.vms.list()] if all_ else list(dict.fromkeys(refs or ()))
        )
        return await _remove(command, chosen)

    execute(ctx, work, as_json=as_json)


async def _remove(command: Command, refs: Sequence[str]) -> int:
    removed: list[str] = []
    failed: list[AetheriumError] = []
    with command.output.progress("Removing"):
        for ref in refs:
            try:
                await command.client.vms.delete(ref)
                removed.append(ref)
            except AetheriumError as error:
                failed.append(error)
    if command.output.as_json:
        from aetherium.cli.output import problem

        command.output.json({"removed": removed, "errors": [problem(error) for error in failed]})
    else:
        for ref in removed:
            command.output.out.print(ref)
        for reason in failed:
            command.output.fail(reason)
    return 1 if failed else 0


@app.command(epilog="Examples:\n\naetherium vm logs box\naetherium vm logs box --bytes 4096")
def logs(
    ctx: typer.Context,
    ref: Ref,
    max_bytes: Annotated[int, typer.Option("--bytes", metavar="N", min=1, max=1 << 20)] = 65536,
    as_json: Json = False,
) -> None:
    """The end of its serial console: what kernel and agent say."""

    async def work(command: Command) -> None:
        import sys

        data = await command.client.vms.console(ref, max_bytes=max_bytes)
        if command.output.as_json:
            command.output.json({"console": data.decode(errors="replace")})
        elif sys.stdout.isatty():
            from aetherium.cli.formats import safe

            sys.stdout.write(safe(data.decode(errors="replace").replace("\r\n", "\n")))
        else:
            sys.stdout.buffer.write(data)

    execute(ctx, work, as_json=as_json)


@app.command(epilog="Examples:\n\naetherium vm metrics box\naetherium vm metrics a b --json")
def metrics(ctx: typer.Context, refs: Refs, as_json: Json = False) -> None:
    """CPU, memory, disk and processes, from outside and from inside."""

    async def work(command: Command) -> None:
        found = [await command.client.vms.metrics(ref) for ref in refs]
        if command.output.as_json:
            command.output.json(found if len(found) > 1 else found[0])
        else:
            for item in found:
                command.output.facts(_metrics(item))

    execute(ctx, work, as_json=as_json)


def _metrics(found: VMMetrics) -> list[tuple[str, str]]:
    from aetherium.cli.formats import duration, size

    pairs = [
        ("vm", found.vm_id),
        ("condition", f"{found.condition} {found.reason}".strip()),
        ("host cpu", duration(found.cpu_s)),
        ("host memory", f"{size(found.memory_bytes)} (proportional)"),
        ("host disk", size(found.disk_bytes)),
    ]
    if (guest := found.guest) is not None:
        pairs += [
            ("uptime", duration(guest.uptime_s)),
            ("cpu", f"{duration(guest.cpu_user_s)} user, {duration(guest.cpu_system_s)} system"),
            ("memory", f"{size(guest.memory_total - guest.memory_available)} of {size(guest.memory_total)}"),
            ("disk", f"{size(guest.disk_total - guest.disk_free)} of {size(guest.disk_total)}"),
            ("processes", str(guest.processes)),
            ("load", f"{guest.load_1m:.2f}"),
        ]
    return pairs


vm_exec.register(app)
vm_copy.register(app)
