"""``aetherium image``."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aetherium.cli.options import HELP, Json
from aetherium.cli.runtime import Command, execute
from aetherium.domain.errors import InvalidInput

if TYPE_CHECKING:
    from aetherium.domain.images import Image, ImageProgress

app = typer.Typer(
    context_settings=HELP,
    rich_markup_mode="rich",
    add_completion=False,
    no_args_is_help=True,
    help="What VMs boot: build, import, list, remove.",
    epilog="Examples:\n\naetherium image build base\naetherium image import docker://alpine:3.20",
)

Ref = Annotated[str, typer.Argument(metavar="IMAGE", help="Tag, digest, or the begin of one.")]


@app.command(
    epilog="Examples:\n\naetherium image build base\naetherium image build tools --package git --package jq"
)
def build(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its tag; base is built in.")] = "base",
    package: Annotated[
        list[str] | None, typer.Option("--package", "-p", metavar="NAME", help="Debian packages.")
    ] = None,
    user: Annotated[str, typer.Option("--user", "-u", help="An unprivileged user to make.")] = "agent",
    sudo: Annotated[bool, typer.Option("--sudo/--no-sudo", help="Let that user become root.")] = True,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Build even if nothing has changed.")] = False,
    as_json: Json = False,
) -> None:
    """Build a root file system from Debian packages."""

    async def work(command: Command) -> None:
        from aetherium.domain.images import ImageRecipe

        if name == "base" and package:
            raise InvalidInput(
                "The recipe base is built in.", hint="Give an image with other packages another name."
            )
        if name != "base" and not package:
            raise InvalidInput(
                f"There is no recipe {name!r} built in.",
                hint=f"Say what goes in: aetherium image build {name} --package git",
            )
        packages = tuple(package or ())
        if sudo and user and packages and "sudo" not in packages:
            packages += ("sudo",)
        recipe = None if name == "base" else ImageRecipe(name, packages, user, sudo and bool(user))

        async def make(report: Callable[[ImageProgress], None]) -> Image:
            return await command.client.images.build(recipe, cache=not no_cache, progress=report)

        await _make(command, f"Building {name}", make)

    execute(ctx, work, as_json=as_json)


@app.command(
    "import",
    epilog="Examples:\n\naetherium image import docker://alpine:3.20\n"
    "aetherium image import oci:./dir:latest --tag mine\naetherium image import docker-archive:image.tar",
)
def import_(
    ctx: typer.Context,
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="docker://…, oci:DIR:TAG, docker-archive:FILE")
    ],
    tag: Annotated[str | None, typer.Option("--tag", "-t", help="[default: the name in the source]")] = None,
    as_json: Json = False,
) -> None:
    """Make an OCI image bootable."""

    async def work(command: Command) -> None:
        async def make(report: Callable[[ImageProgress], None]) -> Image:
            return await command.client.images.import_image(absolute(source), tag=tag, progress=report)

        await _make(command, f"Importing {source}", make)

    execute(ctx, work, as_json=as_json)


def absolute(source: str) -> str:
    """A source whose path is absolute: the daemon works in another directory."""
    kind, colon, rest = source.partition(":")
    if not colon or kind not in ("oci", "docker-archive", "oci-archive", "dir"):
        return source
    path, separator, tail = rest.partition(":")
    return f"{kind}:{os.path.abspath(Path(path).expanduser())}{separator}{tail}"  # noqa: PTH100 # no resolving


async def _make(
    command: Command, text: str, make: Callable[[Callable[[ImageProgress], None]], Awaitable[Image]]
) -> None:
    with command.output.progress(text) as update:
        image = await make(lambda step: update(f"{step.stage} {step.detail}".strip(), step.fraction))
    from aetherium.cli.formats import digest, size

    command.output.show(
        image,
        lambda console: console.print(
            f"{image.tags[0] if image.tags else ''} {digest(image.digest)} ({size(image.size_bytes)})".strip()
        ),
    )


@app.command("list", epilog="Examples:\n\naetherium image list\naetherium image list --json")
def list_(ctx: typer.Context, as_json: Json = False) -> None:
    """All images, newest first."""

    async def work(command: Command) -> None:
        from aetherium.cli.formats import age, digest, size

        found = await command.client.images.list()
        if command.output.as_json:
            command.output.json(found)
            return
        command.output.table(
            ("DIGEST", "TAGS", "SIZE", "ARCH", "SOURCE", "AGE"),
            [
                (
                    digest(image.digest),
                    ", ".join(image.tags),
                    size(image.size_bytes),
                    image.architecture,
                    image.source,
                    age(image.created_at),
                )
                for image in found
            ],
            empty="There are no images. Build one: aetherium image build base",
        )

    execute(ctx, work, as_json=as_json)


@app.command(epilog="Examples:\n\naetherium image inspect base\naetherium image inspect base --json")
def inspect(ctx: typer.Context, ref: Ref, as_json: Json = False) -> None:
    """All about one image: configuration, provenance."""

    async def work(command: Command) -> None:
        image = await command.client.images.get(ref)
        command.output.show(image, lambda _: command.output.facts(_facts(image)))

    execute(ctx, work, as_json=as_json)


def _facts(image: Image) -> list[tuple[str, str]]:
    import json

    from aetherium.cli.formats import moment, pairs, size

    config = image.config
    return [
        ("digest", image.digest),
        ("tags", ", ".join(image.tags)),
        ("source", image.source),
        ("size", size(image.size_bytes)),
        ("architecture", image.architecture),
        ("created", moment(image.created_at)),
        ("user", config.user),
        ("workdir", config.workdir),
        ("environment", pairs(config.env)),
        ("entrypoint", " ".join(config.entrypoint)),
        ("cmd", " ".join(config.cmd)),
        *((key, _short(json.dumps(value))) for key, value in image.provenance.items()),
    ]


def _short(text: str, limit: int = 300) -> str:
    return text if len(text) <= limit else f"{text[:limit]} … (--json shows all)"


@app.command(epilog="Example:\n\naetherium image tag 3f2a base:stable")
def tag(
    ctx: typer.Context,
    ref: Ref,
    new: Annotated[str, typer.Argument(metavar="TAG", help="A further name for it.")],
    as_json: Json = False,
) -> None:
    """Give an image a further tag; it is taken from the image that had it."""

    async def work(command: Command) -> None:
        image = await command.client.images.tag(ref, new)
        command.output.show(image, lambda console: console.print(", ".join(image.tags)))

    execute(ctx, work, as_json=as_json)


@app.command(
    "remove", epilog="Examples:\n\naetherium image remove alpine:3.20\naetherium image remove 3f2a9c"
)
@app.command("rm", hidden=True)
def remove(
    ctx: typer.Context,
    refs: Annotated[list[str], typer.Argument(metavar="IMAGE...", help="Tags or digests.")],
    as_json: Json = False,
) -> None:
    """Remove tags, and images with their last tag; by digest, images with all their tags."""

    async def work(command: Command) -> None:
        from aetherium.cli.formats import size

        freed = 0
        for ref in refs:
            freed += await command.client.images.remove(ref)
        command.output.show(
            {"removed": refs, "freed_bytes": freed},
            lambda console: console.print(f"Removed {', '.join(refs)}; {size(freed)} became free."),
        )

    execute(ctx, work, as_json=as_json)


@app.command(epilog="Examples:\n\naetherium image prune\naetherium image prune --all")
def prune(
    ctx: typer.Context,
    all_: Annotated[
        bool, typer.Option("--all", "-a", help="Also images with a tag that nobody uses.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Remove what no VM, no snapshot and no tag needs."""

    async def work(command: Command) -> None:
        from aetherium.cli.formats import size

        freed = await command.client.images.prune(tagged=all_)
        command.output.show(
            {"freed_bytes": freed}, lambda console: console.print(f"{size(freed)} became free.")
        )

    execute(ctx, work, as_json=as_json)
