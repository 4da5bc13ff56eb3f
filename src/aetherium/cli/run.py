"""``aetherium run``."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aetherium.cli import options
from aetherium.cli.options import HELP, Json
from aetherium.cli.runtime import CARRIED_OUT_NOT, Command, execute
from aetherium.cli.tail import TailCommand
from aetherium.domain.errors import InvalidInput

if TYPE_CHECKING:
    from aetherium.domain.jobs import ArtifactRule, Job, JobSource, JobSpec

app = typer.Typer(context_settings=HELP, rich_markup_mode="rich", add_completion=False)

# A VM is killed within 2 s of its job's cancellation; more, and something is wrong.
_CLEANUP_S = 30.0
_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")


@app.command(
    cls=TailCommand,
    epilog="Examples:\n\naetherium run -- uname -a\n"
    "aetherium run --repo https://example.org/project.git --network open -- make test\n"
    "aetherium run --repo . --artifact 'dist/*' --patch-out changes.patch -- ./build.sh\n"
    "aetherium run -f job.yaml --secret TOKEN --output out",
)
def run(
    ctx: typer.Context,
    argv: Annotated[
        list[str] | None, typer.Argument(metavar="-- COMMAND...", help="Program, arguments.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", metavar="JOB.YAML", help="A job file instead of a command.")
    ] = None,
    repo: Annotated[
        str | None,
        typer.Option("--repo", "-r", metavar="URL|DIR", help="Repository, directory, bundle or archive."),
    ] = None,
    ref: Annotated[str | None, typer.Option("--ref", help="Branch, tag or commit.")] = None,
    depth: Annotated[
        int | None, typer.Option("--depth", min=0, help="Commits of history; 0: all. [default: 1]")
    ] = None,
    image: options.Image = None,
    secret: options.Secret = None,
    stored_secret: options.StoredSecret = None,
    env: options.Env = None,
    artifact: Annotated[
        list[str] | None, typer.Option("--artifact", "-a", metavar="GLOB", help="Files to bring back.")
    ] = None,
    report: Annotated[
        list[str] | None, typer.Option("--report", metavar="GLOB", help="JUnit XML files to sum up.")
    ] = None,
    network: options.Network = None,
    allow: options.Allow = None,
    cpus: options.Cpus = None,
    memory: options.Memory = None,
    disk: options.Disk = None,
    driver: options.Driver = None,
    user: Annotated[str | None, typer.Option("--user", "-u", metavar="NAME", help="In the guest.")] = None,
    timeout: Annotated[
        str | None, typer.Option("--timeout", metavar="TIME", help="For the whole job.")
    ] = None,
    patch_out: Annotated[
        Path | None, typer.Option("--patch-out", metavar="FILE", help="Write all changes there.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Write artifacts, logs, patch and record there."),
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Print the job's id; needs `up`.")] = False,
    rm: Annotated[bool, typer.Option("--rm", help="Forget the job at its end.")] = False,
    as_json: Json = False,
) -> None:
    """Run a command, or the steps of a job file, in a fresh VM; bring back what it made.

    Leaves with the command's exit code, 124 after a timeout, 125 if it could not be carried out. Ctrl-C
    cancels the job and removes its VM. What was changed in a repository comes back as a patch for git apply.
    """
    changes = Changes(
        image=image,
        ref=ref,
        depth=depth,
        env=tuple(env or ()),
        artifacts=tuple(artifact or ()),
        reports=tuple(report or ()),
        network=network,
        allow=tuple(allow or ()),
        cpus=cpus,
        memory=memory,
        disk=disk,
        driver=driver,
        user=user,
        timeout=timeout,
        patch=patch_out is not None or output is not None,
    )

    async def work(command: Command) -> int:
        secrets = options.secrets(secret)
        names = (*secrets, *(stored_secret or ()))
        spec = await asyncio.to_thread(_spec, command, tuple(argv or ()), file, repo, changes, names)
        return await _run(command, spec, secrets, _Wishes(patch_out, output, detach=detach, rm=rm))

    execute(ctx, work, as_json=as_json, failure=CARRIED_OUT_NOT)


@dataclass(frozen=True, slots=True)
class Changes:
    """What the options ask for beside the command or job file."""

    image: str | None = None
    ref: str | None = None
    depth: int | None = None
    env: tuple[str, ...] = ()
    artifacts: tuple[str, ...] = ()
    reports: tuple[str, ...] = ()
    network: str | None = None
    allow: tuple[str, ...] = ()
    cpus: int | None = None
    memory: str | None = None
    disk: str | None = None
    driver: str | None = None
    user: str | None = None
    timeout: str | None = None
    patch: bool = False


@dataclass(frozen=True, slots=True)
class _Wishes:
    """What to do with the job."""

    patch_out: Path | None
    output: Path | None
    detach: bool = False
    rm: bool = False


def _spec(
    command: Command,
    argv: tuple[str, ...],
    file: Path | None,
    repo: str | None,
    changes: Changes,
    secrets: tuple[str, ...],
) -> JobSpec:
    from aetherium.domain.jobs import JobSpec, JobStep

    if bool(argv) == (file is not None):
        raise InvalidInput(
            "There is nothing to run." if not argv else "Both a command and a job file were given.",
            hint="Write: aetherium run -- COMMAND, or: aetherium run -f JOB.YAML",
        )
    if file is not None:
        from aetherium import jobfile

        spec = jobfile.load(file)
    else:
        settings = command.settings
        name = argv[0].rpartition("/")[2] or "command"
        spec = JobSpec(
            steps=(JobStep(name=name, argv=argv),),
            name=name,
            image=settings.image,
            resources=settings.resources,
        )
    if repo is not None:
        spec = replace(spec, source=source(repo, changes.ref, changes.depth))
    elif changes.ref is not None or changes.depth is not None:
        raise InvalidInput("--ref and --depth belong to --repo.", hint="Name the repository with --repo.")
    return apply(spec, changes, secrets)


def apply(spec: JobSpec, changes: Changes, secrets: Sequence[str]) -> JobSpec:
    """A job with what the options change. Raises InvalidInput."""
    changed = replace(
        spec,
        resources=options.resources(spec.resources, changes.cpus, changes.memory, changes.disk),
        env={**spec.env, **options.environment(changes.env)},
        secrets=tuple(dict.fromkeys((*spec.secrets, *secrets))),
        artifacts=(*spec.artifacts, *_rules(changes.artifacts, {rule.name for rule in spec.artifacts})),
        reports=(*spec.reports, *changes.reports),
        image=changes.image or spec.image,
        driver=changes.driver or spec.driver,
        user=changes.user or spec.user,
        patch=spec.patch or changes.patch,
    )
    if changes.network is not None or changes.allow:
        changed = replace(changed, network=options.network(changes.network, changes.allow))
    if changes.timeout is not None:
        changed = replace(changed, timeout_s=options.seconds(changes.timeout, "timeout"))
    return changed


def _rules(patterns: Sequence[str], taken: set[str]) -> list[ArtifactRule]:
    from aetherium.domain.jobs import ArtifactRule

    rules = []
    for pattern in patterns:
        stem = (
            "".join(char if char.isalnum() or char in "._-" else "-" for char in pattern).strip("-.")
            or "files"
        )
        name, number = stem, 2
        while name in taken:
            name, number = f"{stem}-{number}", number + 1
        taken.add(name)
        rules.append(ArtifactRule(pattern, name))
    return rules


def source(repo: str, ref: str | None, depth: int | None) -> JobSource:
    """Where the files come from: a repository's address, or a directory, bundle or archive of this host.
    Raises InvalidInput."""
    from aetherium.domain.jobs import ArchiveSource, BundleSource, DirectorySource, GitSource

    path = Path(repo).expanduser()
    remote = "://" in repo or (":" in repo and not path.exists())
    if remote:
        return GitSource(repo, ref or "", 1 if depth is None else depth or None)
    if not path.exists():
        raise InvalidInput(
            f"There is no directory or file {repo!r}.",
            hint="Give a path of this host, or an address like https://example.org/project.git.",
            field="repo",
        )
    whole = str(path.absolute())
    if path.is_dir():
        if ref is not None or depth is not None:
            return GitSource(f"file://{whole}", ref or "", depth or None)
        return DirectorySource(whole)
    if path.name.endswith(_ARCHIVES):
        return ArchiveSource(whole)
    return BundleSource(whole, ref or "")


async def _run(command: Command, spec: JobSpec, secrets: Mapping[str, str], wishes: _Wishes) -> int:
    from aetherium.cli.jobs import cancel_and_wait, follow
    from aetherium.cli.jobview import JobView
    from aetherium.interfaces.finishing import finish

    job = await _submit(command, spec, secrets)
    if wishes.detach:
        if not await command.stays():
            await cancel_and_wait(command, job.id, timeout_s=_CLEANUP_S)
            raise InvalidInput("--detach needs the platform to stay.", hint="Start `aetherium up` first.")
        command.output.show(job, lambda console: console.print(job.id))
        return 0
    view = JobView(command.output, headers=True)
    try:
        job = await follow(command, job.id, view)
        return await _finish(command, job, wishes)
    except (asyncio.CancelledError, BrokenPipeError):
        command.output.note("\nCancelling the job and removing its VM …")
        await finish(cancel_and_wait(command, job.id, timeout_s=_CLEANUP_S))
        raise


async def _submit(command: Command, spec: JobSpec, secrets: Mapping[str, str]) -> Job:
    """Submit; if cancelled meanwhile, the job that may have been made is cancelled as well."""
    from aetherium.cli.jobs import cancel_and_wait
    from aetherium.interfaces.finishing import finish

    submitting = asyncio.ensure_future(command.client.jobs.submit(spec, secrets=secrets))
    try:
        return await asyncio.shield(submitting)
    except asyncio.CancelledError:
        job = await submitting
        await finish(cancel_and_wait(command, job.id, timeout_s=_CLEANUP_S))
        raise


async def _finish(command: Command, job: Job, wishes: _Wishes) -> int:
    from aetherium.cli.jobs import save, save_patch
    from aetherium.cli.jobview import summarise

    saved: dict[str, str] = {}
    if wishes.output is not None:
        saved |= await save(command, job, wishes.output)
    if wishes.patch_out is not None and await save_patch(command, job, wishes.patch_out):
        saved["patch"] = str(wishes.patch_out)
    if not saved and not wishes.rm and (job.artifacts or job.patch):
        saved["artifacts, logs and patch"] = f"aetherium job artifacts {job.id} --output DIR"
    summarise(command.output, job, saved)
    if command.output.as_json:
        command.output.line({"job": job, "exit_code": job.exit_code, "saved": saved})
    if wishes.rm:
        await command.client.jobs.delete(job.id)
    return job.exit_code
