"""The tree of commands. A group's module is imported when the group is used, not for ``--help`` of others."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from aetherium.cli.options import Common

# Name, module that has `app`, one line for the overview; in the order that people see.
_COMMANDS: Mapping[str, tuple[str, str]] = {
    "run": ("aetherium.cli.run", "Run a command or a job file in a fresh VM, and bring back what it made."),
    "vm": ("aetherium.cli.vm", "Create VMs, run commands in them, copy files, snapshot, fork."),
    "job": ("aetherium.cli.job", "Jobs: list, logs, artifacts, cancel."),
    "task": ("aetherium.cli.task", "Durable tasks: submit, list, wait, cancel."),
    "dead-letter": ("aetherium.cli.dead_letter", "Tasks that failed for good: look, requeue, discard."),
    "schedule": ("aetherium.cli.schedule", "Tasks made by cron or at an interval."),
    "queue": ("aetherium.cli.queue", "What waits, by priority: pause, resume, limit types."),
    "project": ("aetherium.cli.project", "Tenants and their quotas."),
    "api-key": ("aetherium.cli.api_key", "Keys for programs: create, list, show, rotate, revoke."),
    "member": ("aetherium.cli.member", "People in projects: add, list, set their role, remove."),
    "whoami": ("aetherium.cli.whoami", "Who one is to the platform, and what one may do."),
    "secret": ("aetherium.cli.secret", "Secrets that executions and jobs ask for by name."),
    "event": ("aetherium.cli.event", "What happened, and what happens."),
    "audit": ("aetherium.cli.audit", "Who did what; whether anybody has changed the record of it."),
    "image": ("aetherium.cli.image", "What VMs boot: build, import, list, remove."),
    "snapshot": ("aetherium.cli.snapshot", "Snapshots of VMs: list, remove."),
    "doctor": ("aetherium.cli.doctor", "What works on this host, what does not, and what to do about it."),
    "gateway": ("aetherium.cli.gateway", "A process of a cluster: serves the API."),
    "orchestrator": ("aetherium.cli.orchestrator", "A process of a cluster: decides what runs where."),
    "worker": ("aetherium.cli.worker", "Workers: run one on this host, list, drain, remove."),
    "up": ("aetherium.cli.up", "Serve the platform for other commands and programs."),
    "certs": ("aetherium.cli.certs", "TLS between hosts: an authority and certificates."),
    "db": ("aetherium.cli.db", "The database's schema: show, upgrade, downgrade, check."),
    "version": ("aetherium.cli.version", "Versions of this command and of the platform that serves it."),
}

# Other names that are understood, and not shown.
_ALIASES: Mapping[str, str] = {"secrets": "secret"}

_EPILOG = (
    "Examples:\n\naetherium doctor\naetherium image build base\n"
    "aetherium run --repo https://example.org/project.git -- make test\n"
    "aetherium vm create --name box\naetherium vm shell box"
)


class LazyGroup(TyperGroup):
    """A group whose commands are imported when they are run."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """For overviews: a command that has nothing but its name and its line."""
        if cmd_name not in _COMMANDS:
            return None
        # Completion walks through here into the group: there it has to be the real one.
        if ctx.resilient_parsing:
            return _load(cmd_name)
        return TyperCommand(name=cmd_name, help=_COMMANDS[cmd_name][1])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        args = [_ALIASES.get(args[0], args[0]), *args[1:]] if args else args
        self.commands = {known: self.get_command(ctx, known) for known in _COMMANDS}  # for suggestions
        name, stub, rest = super().resolve_command(ctx, args)
        return name, _load(name) if stub is not None and name is not None else None, rest


def _load(name: str) -> Any:
    module = importlib.import_module(_COMMANDS[name][0])
    command = typer.main.get_command(module.app)
    command.name = name
    for part in (command, *getattr(command, "commands", {}).values()):
        part.help = _reflowed(part.help or "")
    return command


def _reflowed(text: str) -> str:
    """Paragraphs on one line each: the terminal breaks them where it ends."""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def _show_version(wanted: bool) -> None:
    if wanted:
        from aetherium import __version__

        typer.echo(f"aetherium {__version__}")
        raise typer.Exit


def root() -> Any:
    """The whole command line."""
    app = typer.Typer(
        cls=LazyGroup,
        no_args_is_help=True,
        help="Runs untrusted jobs and agents in isolated microVMs, on machines of your own.",
        epilog=_EPILOG,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def common(
        ctx: typer.Context,
        data_dir: Annotated[
            Path | None,
            typer.Option("--data-dir", metavar="DIR", help="Where everything is kept. [AETHERIUM_DATA_DIR]"),
        ] = None,
        url: Annotated[
            str | None,
            typer.Option(
                "--url", metavar="URL", help="Use the gateway there, with AETHERIUM_API_KEY. [AETHERIUM_URL]"
            ),
        ] = None,
        project: Annotated[
            str | None,
            typer.Option("--project", metavar="PROJECT", help="In this project. [AETHERIUM_PROJECT]"),
        ] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Answer with JSON.")] = False,
        quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
        _version: Annotated[
            bool,
            typer.Option("--version", "-V", help="Show the version.", is_eager=True, callback=_show_version),
        ] = False,
    ) -> None:
        ctx.obj = Common(data_dir=data_dir, as_json=as_json, quiet=quiet, url=url, project=project)

    return typer.main.get_command(app)
