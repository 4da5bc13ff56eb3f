"""``aetherium member``."""

from __future__ import annotations

from typing import Annotated

import typer

from aetherium.cli.options import HELP, Json
from aetherium.cli.runtime import Command, execute
from aetherium.domain.identity import Role

app = typer.Typer(
    context_settings=HELP,
    rich_markup_mode="rich",
    add_completion=False,
    no_args_is_help=True,
    help="People in projects: add, list, set their role, remove.",
    epilog="Examples:\n\naetherium member add ada operator --project web\naetherium member list",
)

Subject = Annotated[
    str,
    typer.Argument(metavar="SUBJECT", help="As the identity provider calls them, or oidc:ISSUER#SUBJECT."),
]
Project = Annotated[
    str, typer.Option("--project", metavar="PROJECT", help="Id or name. [default: one's own]")
]
Given = Annotated[Role, typer.Argument(metavar="ROLE", help="viewer, operator or admin.")]


@app.command(epilog="Example:\n\naetherium member add ada operator --project web")
def add(
    ctx: typer.Context, subject: Subject, role: Given, project: Project = "", as_json: Json = False
) -> None:
    """Make somebody a member of a project."""

    async def work(command: Command) -> None:
        made = await command.client.members.add(subject, role, project=project)
        text = f"{made.subject} is {made.role} in {made.project_id}."
        command.output.show(made, lambda console: console.print(text, markup=False, soft_wrap=True))

    execute(ctx, work, as_json=as_json)


@app.command("list", epilog="Examples:\n\naetherium member list\naetherium member list --project web")
def list_(ctx: typer.Context, project: Project = "", as_json: Json = False) -> None:
    """The members of a project."""

    async def work(command: Command) -> None:
        from aetherium.cli.formats import age, safe

        found = await command.client.members.list(project=project)
        if command.output.as_json:
            command.output.json(found)
            return
        command.output.table(
            ("SUBJECT", "ROLE", "BY", "AGE"),
            [(safe(each.subject), str(each.role), each.created_by, age(each.created_at)) for each in found],
            empty="Nobody is a member. Add somebody: aetherium member add SUBJECT ROLE",
        )

    execute(ctx, work, as_json=as_json)


@app.command("set", epilog="Example:\n\naetherium member set ada viewer --project web")
def set_(
    ctx: typer.Context, subject: Subject, role: Given, project: Project = "", as_json: Json = False
) -> None:
    """Change what a member may do. A project keeps an administrator."""

    async def work(command: Command) -> None:
        changed = await command.client.members.set_role(subject, role, project=project)
        text = f"{changed.subject} is {changed.role} in {changed.project_id}."
        command.output.show(changed, lambda console: console.print(text, markup=False, soft_wrap=True))

    execute(ctx, work, as_json=as_json)


@app.command("rm", epilog="Example:\n\naetherium member rm ada --project web")
def remove(ctx: typer.Context, subject: Subject, project: Project = "", as_json: Json = False) -> None:
    """Take somebody out of a project; not its last administrator."""

    async def work(command: Command) -> None:
        await command.client.members.remove(subject, project=project)
        gone = {"removed": subject}
        command.output.show(gone, lambda console: console.print(f"{subject} is out.", markup=False))

    execute(ctx, work, as_json=as_json)
