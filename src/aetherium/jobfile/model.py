"""The shape of a job file. The descriptions here become the published JSON schema."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from aetherium.domain.jobs import StepCondition
from aetherium.jobfile.units import mebibytes, seconds, size_bytes

# Linux takes 128 KiB per argument, and the script is one.
MAX_SCRIPT = 100_000

SHELLS: dict[str, tuple[str, ...]] = {
    "sh": ("/bin/sh", "-e", "-c"),
    "bash": ("bash", "-e", "-o", "pipefail", "-c"),
    "python": ("python3", "-c"),
}
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"


def _kebab(name: str) -> str:
    return name.rstrip("_").replace("_", "-")


def _env_names(value: Any) -> Any:
    names = value if isinstance(value, dict | list) else []
    for name in names:
        if not isinstance(name, str) or not _ENV_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a name for an environment variable")
    return value


Duration = Annotated[
    float,
    BeforeValidator(seconds),
    Field(
        json_schema_extra=lambda schema: schema.update(_either("Seconds, or text such as 90s, 10m, 1h30m."))
    ),
]
Size = Annotated[
    int,
    BeforeValidator(size_bytes),
    Field(json_schema_extra=lambda schema: schema.update(_either("Bytes, or text such as 512MiB, 2G."))),
]
Mebibytes = Annotated[
    int,
    BeforeValidator(mebibytes),
    Field(json_schema_extra=lambda schema: schema.update(_only_text("A size such as 512MiB or 2G."))),
]
Env = Annotated[dict[str, str], BeforeValidator(_env_names)]
Secrets = Annotated[list[str], BeforeValidator(_env_names)]
Word = Annotated[str, StringConstraints(min_length=1, max_length=4096)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]


def _either(description: str) -> dict[str, Any]:
    return {"anyOf": [{"type": "number"}, {"type": "string"}], "description": description, "type": None}


def _only_text(description: str) -> dict[str, Any]:
    return {"type": "string", "description": description}


class _Model(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, alias_generator=_kebab, populate_by_name=False
    )


class SourceModel(_Model):
    """What goes into the VM: exactly one of git, directory, bundle and archive."""

    git: Word | None = Field(None, description="URL of a git repository: https, ssh, git or file.")
    directory: Word | None = Field(None, description="A directory; in a git repository with its changes.")
    bundle: Word | None = Field(None, description="A git bundle file.")
    archive: Word | None = Field(None, description="A tar (gz, bz2, xz) or zip file.")
    ref: Word | None = Field(None, description="Branch, tag or commit (git, bundle).")
    depth: Annotated[int, Field(ge=1)] | Literal["all"] | None = Field(
        None, description="Commits of history to take (git, directory), or 'all'; 1 if not given."
    )
    uncommitted: bool | None = Field(None, description="false: only what is committed (directory).")
    patch: Word | None = Field(None, description="A patch file to apply on top (bundle).")
    strip: Annotated[int, Field(ge=0, le=64)] | None = Field(
        None, description="Leading path components to drop (archive)."
    )

    @model_validator(mode="after")
    def _one_kind(self) -> SourceModel:
        kinds = [kind for kind in SOURCE_OPTIONS if getattr(self, kind) is not None]
        if len(kinds) != 1:
            given = " and ".join(map(repr, kinds)) if kinds else "none"
            raise ValueError(f"give exactly one of 'git', 'directory', 'bundle', 'archive'; there is {given}")
        for option in ("ref", "depth", "uncommitted", "patch", "strip"):
            if getattr(self, option) is not None and option not in SOURCE_OPTIONS[kinds[0]]:
                raise ValueError(f"{option!r} does not go with {kinds[0]!r}")
        return self


SOURCE_OPTIONS = {
    "git": ("ref", "depth"),
    "directory": ("depth", "uncommitted"),
    "bundle": ("ref", "patch"),
    "archive": ("strip",),
}


class ResourcesModel(_Model):
    """The size of the VM."""

    vcpus: Annotated[int, Field(ge=1, le=64)] = 1
    memory: Annotated[Mebibytes, Field(ge=128)] = 512
    disk: Annotated[Mebibytes, Field(ge=16)] = 4096


def _network(value: Any) -> Any:
    return {"mode": value} if isinstance(value, str) else value


class NetworkModel(_Model):
    """What the VM may reach."""

    mode: Literal["none", "allowlist", "open"] = "none"
    allow: list[Word] = Field([], description="Domains and CIDRs, each with an optional :port.")

    @model_validator(mode="after")
    def _allowlist(self) -> NetworkModel:
        if self.allow and self.mode != "allowlist":
            raise ValueError(f"'allow' goes with the mode 'allowlist', not {self.mode!r}")
        return self


class StepModel(_Model):
    """One command."""

    run: (
        Annotated[str, StringConstraints(min_length=1, max_length=MAX_SCRIPT)]
        | Annotated[list[str], Field(min_length=1)]
    ) = Field(description="A script for the shell, or a list: a program and its arguments.")
    name: Name | None = Field(None, description="Unique within the job.")
    shell: Literal["sh", "bash", "python"] | Annotated[list[Word], Field(min_length=1)] | None = Field(
        None, description="What runs a script; a list is given the script as its last argument."
    )
    env: Env = {}
    secrets: Secrets | None = Field(None, description="Which secrets it sees; all of the job's if not given.")
    cwd: Word | None = Field(None, description="Relative to the job's workdir, or absolute.")
    user: Word | None = None
    timeout: Duration | None = None
    continue_on_error: bool = Field(False, description="Its failure does not fail the job.")
    if_: StepCondition = Field(
        StepCondition.SUCCESS, strict=False, description="When it runs: see docs/jobs.md."
    )

    @model_validator(mode="after")
    def _shell_for_scripts(self) -> StepModel:
        if isinstance(self.run, list) and self.shell is not None:
            raise ValueError("'shell' goes with a script; a list of words is run as it is")
        return self


def _artifact(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


class ArtifactModel(_Model):
    """Files to bring back."""

    path: Word = Field(description="A glob, relative to the workdir or absolute; ** crosses directories.")
    name: Annotated[str, StringConstraints(pattern=_NAME)] | None = None
    max_size: Size | None = Field(None, description="More than this fails the job.")
    required: bool = Field(False, description="The job fails when nothing matches.")


def _globs(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Globs = Annotated[
    list[Word],
    BeforeValidator(_globs),
    Field(json_schema_extra=lambda schema: _also_text(schema)),
]


class ReportsModel(_Model):
    """Reports to read."""

    junit: Globs = Field([], description="Globs of JUnit XML files, relative to the workdir.")


def _also_text(schema: dict[str, Any]) -> None:
    """Beside what it is, a single string will do."""
    description = schema.pop("description", None)
    full = dict(schema)
    default = full.pop("default", None)
    schema.clear()
    schema["anyOf"] = [{"type": "string"}, full]
    if description is not None:
        schema["description"] = description
    if default is not None:
        schema["default"] = default


Artifacts = Annotated[
    list[Annotated[ArtifactModel, BeforeValidator(_artifact)]],
    BeforeValidator(_globs),
]


class JobFile(_Model):
    """A job: a source, steps that run in a fresh VM, and what comes back."""

    steps: Annotated[list[StepModel], Field(min_length=1, max_length=1000)]
    name: Name | None = None
    source: SourceModel | None = None
    image: Word = Field("base", description="Tag or digest of the image.")
    driver: Word = "auto"
    resources: ResourcesModel = ResourcesModel()
    network: Annotated[NetworkModel, BeforeValidator(_network)] = Field(
        default_factory=NetworkModel.model_construct
    )
    env: Env = {}
    secrets: Secrets = Field([], description="Names; values come with the submission, or are stored ones.")
    workdir: Annotated[str, StringConstraints(pattern=r"^/[^\x00]*[^/\x00]$")] = Field(
        "/workspace", description="Where the source goes and the steps begin."
    )
    user: Word | None = None
    artifacts: Artifacts = Field([], max_length=1000)
    reports: ReportsModel = Field(default_factory=ReportsModel.model_construct)
    patch: bool = Field(True, description="Bring back the changes as a patch.")
    timeout: Duration | None = Field(None, description="For the whole job.")
    priority: Literal["critical", "high", "default", "low"] = "default"
    attempts: Annotated[int, Field(ge=1, le=100)] = Field(
        3, description="How often it is begun when its worker or its VM is lost under it."
    )
    labels: dict[str, str] = {}


def known_keys(path: tuple[str | int, ...]) -> list[str]:
    """The keys that may stand at that place of a job file."""
    model: type[BaseModel] = JobFile
    for part in path:
        model = _INSIDE.get((model, str(part)), model)
    return [str(field.alias or name) for name, field in model.model_fields.items()]


_INSIDE: dict[tuple[type[BaseModel], str], type[BaseModel]] = {
    (JobFile, "source"): SourceModel,
    (JobFile, "resources"): ResourcesModel,
    (JobFile, "network"): NetworkModel,
    (JobFile, "steps"): StepModel,
    (JobFile, "artifacts"): ArtifactModel,
    (JobFile, "reports"): ReportsModel,
}


def json_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The model's JSON schema, in the form that is published."""
    body = model.model_json_schema(by_alias=True)
    definitions = body["$defs"]
    for holder, key, name in (
        (body["properties"]["artifacts"]["items"], "$ref", "ArtifactModel"),
        (body["properties"]["network"], "$ref", "NetworkModel"),
    ):
        holder.pop(key, None)
        holder["anyOf"] = [{"type": "string"}, {"$ref": f"#/$defs/{name}"}]
    body["properties"]["resources"].pop("default")
    for name in ("memory", "disk"):
        field = definitions["ResourcesModel"]["properties"][name]
        field["default"] = f"{field['default']}MiB"
    definitions["NetworkModel"]["description"] += " Text alone is the mode."
    text_or_number = {"anyOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}]}
    for holder in (body["properties"], definitions["StepModel"]["properties"]):
        holder["env"]["additionalProperties"] = text_or_number
    body["properties"]["labels"]["additionalProperties"] = text_or_number
    _tidy(body)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Aetherium job file", **body}


def _tidy(schema: Any) -> None:
    """Drop ``null``, which means the same as not giving the key, and titles that repeat it."""
    if isinstance(schema, list):
        for item in schema:
            _tidy(item)
    elif isinstance(schema, dict):
        options = schema.get("anyOf")
        if isinstance(options, list):
            kept = [option for option in options if option != {"type": "null"}]
            schema.pop("anyOf")
            schema.update(kept[0] if len(kept) == 1 else {"anyOf": kept})
        for key in ("default", "type"):
            if key in schema and schema[key] is None:
                del schema[key]
        schema.pop("ge", None)  # of a size written as text
        if isinstance(schema.get("title"), str):
            del schema["title"]
        for value in schema.values():
            _tidy(value)
