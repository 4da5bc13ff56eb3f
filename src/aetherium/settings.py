"""All settings. Defaults < ``aetherium.toml`` < ``AETHERIUM_*`` environment < arguments.

The file is ``$AETHERIUM_CONFIG``, or else ``aetherium.toml`` in the data directory, or else
``~/.config/aetherium/aetherium.toml``. ``AETHERIUM_NAME_FILE`` names a file that holds the value of NAME.
Unknown keys are refused. docs/settings.md describes every setting.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from aetherium.domain.errors import InvalidInput
from aetherium.domain.rates import Rate
from aetherium.domain.tasks import Priority
from aetherium.domain.vms import NetworkMode, NetworkPolicy, Resources

PREFIX = "AETHERIUM_"
FILE_SUFFIX = "_FILE"
CONFIG_VARIABLE = "AETHERIUM_CONFIG"
# Not settings: where the file is, and what the tests and benchmarks are told.
_NOT_SETTINGS = (CONFIG_VARIABLE, "AETHERIUM_TEST_", "AETHERIUM_BENCH_")
# As browsers write it: scheme, host, and the port if it is not the scheme's.
_ORIGIN = re.compile(r"https?://[a-z0-9.:\[\]-]+")
# A secret or a path fits many times; whatever is larger is the wrong file.
_LARGEST_VALUE = 64 * 1024


class PoolSettings(BaseModel):
    """VMs of one image and size that are kept ready.

    Args:
        minimum: VMs that always wait.
        maximum: how many may wait when demand was high; it falls back to `minimum` after a quiet minute.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    image: str = "base"
    driver: str = "auto"
    vcpus: int = 1
    memory_mib: int = 512
    disk_mib: int = 4096
    network: NetworkMode = NetworkMode.NONE
    minimum: int = Field(default=1, ge=0, le=256)
    maximum: int = Field(default=4, ge=1, le=256)

    @model_validator(mode="after")
    def _ordered(self) -> PoolSettings:
        if self.maximum < self.minimum:
            raise ValueError(f"maximum is {self.maximum}, below the minimum {self.minimum}")
        if self.network is NetworkMode.ALLOWLIST:
            raise ValueError("a pool's network is none or open: an allowlist belongs to one VM")
        return self

    @property
    def resources(self) -> Resources:
        """The size as a value. Raises InvalidInput if it is out of range."""
        return Resources(self.vcpus, self.memory_mib, self.disk_mib)

    @property
    def policy(self) -> NetworkPolicy:
        """The network policy as a value."""
        return NetworkPolicy(self.network)


class Settings(BaseSettings):
    """See the module's docstring; `load` turns what is wrong into InvalidInput."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, env_ignore_empty=True)

    data_dir: Path = Field(default_factory=lambda: default_data_dir())
    runtime_dir: Path | None = None
    drivers: tuple[str, ...] = ("qemu",)
    image: str = "base"
    vcpus: int = Field(default=1, ge=1, le=64)
    memory_mib: int = Field(default=512, ge=128)
    disk_mib: int = Field(default=4096, ge=16)
    boot_timeout_s: float = Field(default=120.0, gt=0)
    stop_grace_s: float = Field(default=10.0, ge=0)
    warm_snapshots: int = Field(default=8, ge=0)
    warm_mib: int = Field(default=8192, ge=0)
    pool: tuple[PoolSettings, ...] | None = None
    reap_interval_s: float = Field(default=1.0, gt=0)
    reconcile_interval_s: float = Field(default=30.0, gt=0)
    output_mib: int = Field(default=16, ge=1)
    database_url: SecretStr | None = None
    redis_url: SecretStr | None = None
    objects_url: str | None = None
    objects_endpoint: str | None = None
    objects_region: str = "us-east-1"
    objects_key_id: str | None = None
    objects_secret: SecretStr | None = None
    cluster_token: SecretStr | None = None
    master_key: SecretStr | None = None
    master_key_previous: SecretStr | None = None
    secrets_provider: Literal["database", "vault"] = "database"
    vault_url: str | None = None
    vault_token: SecretStr | None = None
    vault_role_id: str | None = None
    vault_secret_id: SecretStr | None = None
    vault_mount: str = "secret"
    vault_prefix: str = "aetherium"
    vault_ca: Path | None = None
    worker_name: str | None = None
    worker_listen: str | None = None
    worker_advertise: str | None = None
    grpc_listen: str = ""
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    listen: str | None = None
    listen_plain: bool = False
    trusted_proxies: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    max_connections: int = Field(default=1000, ge=1)
    max_body_mib: int = Field(default=8, ge=1)
    body_timeout_s: float = Field(default=30.0, gt=0)
    request_timeout_s: float = Field(default=300.0, gt=0)
    request_lease_s: float = Field(default=15.0, ge=1)
    rate_limit_key: str = "6000/minute"
    rate_limit_address: str = "600/minute"
    oidc_issuer: str | None = None
    oidc_audience: str | None = None
    oidc_admins: tuple[str, ...] = ()
    oidc_subject_claim: str = "sub"
    url: str | None = None
    api_key: SecretStr | None = None
    project: str | None = None
    worker_tasks: int = Field(default=64, ge=1, le=10_000)
    worker_vcpus: int = Field(default_factory=lambda: 2 * (os.cpu_count() or 1), ge=1)
    worker_memory_mib: int = Field(default_factory=lambda: _memory_mib() * 4 // 5, ge=128)
    worker_labels: dict[str, str] = Field(default_factory=dict)
    worker_grace_s: float = Field(default=30.0, ge=0)
    lease_s: float = Field(default=12.0, ge=1)
    ticket_s: float = Field(default=5.0, gt=0)
    placement: Literal["spread", "pack"] = "spread"
    priority_weights: dict[Priority, int] = Field(
        default_factory=lambda: {
            Priority.CRITICAL: 8,
            Priority.HIGH: 4,
            Priority.DEFAULT: 2,
            Priority.LOW: 1,
        }
    )
    strict_priorities: bool = False
    task_keep_s: float = Field(default=7 * 86400.0, gt=0)
    event_keep_s: float = Field(default=7 * 86400.0, gt=0)
    job_timeout_s: float = Field(default=6 * 3600.0, gt=0)
    job_log_mib: int = Field(default=256, ge=1)
    source_mib: int = Field(default=4096, ge=1)
    git_networks: tuple[str, ...] = ()
    patch_mib: int = Field(default=256, ge=1)
    artifact_mib: int = Field(default=1024, ge=1)
    artifacts_mib: int = Field(default=4096, ge=1)
    log_level: str = "info"

    @classmethod
    def load(cls, **overrides: Any) -> Settings:
        """Read all sources. Raises InvalidInput that names the key and, for an unknown one, the nearest."""
        try:
            return cls(**overrides)
        except ValidationError as error:
            raise _explain(error) from error
        except SettingsError as error:
            raise InvalidInput(
                f"The environment is not usable: {error}.", hint="See docs/settings.md."
            ) from error

    @field_validator("data_dir", "runtime_dir", "tls_ca", "tls_cert", "tls_key")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return None if path is None else path.expanduser().absolute()

    @field_validator("log_level")
    @classmethod
    def _known_level(cls, level: str) -> str:
        if level not in ("debug", "info", "warning", "error"):
            raise ValueError("use debug, info, warning or error")
        return level

    @field_validator("rate_limit_key", "rate_limit_address")
    @classmethod
    def _rates(cls, rate: str) -> str:
        try:
            Rate.parse(rate)
        except InvalidInput as error:
            raise ValueError(str(error)) from error
        return rate

    @field_validator("trusted_proxies", "git_networks")
    @classmethod
    def _networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for network in networks:
            ipaddress.ip_network(network)
        return networks

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(f"write {origin!r} as https://HOST, without a path, and no '*'")
        return origins

    @field_validator("pool")
    @classmethod
    def _sizes(cls, pools: tuple[PoolSettings, ...] | None) -> tuple[PoolSettings, ...] | None:
        for pool in pools or ():
            try:
                _ = pool.resources
            except InvalidInput as error:
                raise ValueError(str(error)) from error
        return pools

    @property
    def sockets(self) -> Path:
        """The directory of the daemon's socket, mode 0700."""
        return self.runtime_dir or self.data_dir / "run"

    @property
    def socket(self) -> Path:
        """Where ``aetherium up`` listens."""
        return self.sockets / "aetherium.sock"

    @property
    def resources(self) -> Resources:
        """The size of a VM for which none is given."""
        return Resources(self.vcpus, self.memory_mib, self.disk_mib)

    @property
    def pools(self) -> tuple[PoolSettings, ...]:
        """The pools that a process that stays keeps; if none are given, one of the default image and size."""
        if self.pool is not None:
            return self.pool
        return (
            PoolSettings(
                image=self.image, vcpus=self.vcpus, memory_mib=self.memory_mib, disk_mib=self.disk_mib
            ),
        )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        _refuse_unknown_variables(cls.model_fields)
        files = _FileVariables(settings_cls)
        given = {**files(), **env_settings(), **init_settings()}
        place = Path(given.get("data_dir") or default_data_dir()).expanduser()
        return init_settings, env_settings, files, _Toml(settings_cls, config_file(place))


class _Source(PydanticBaseSettingsSource):
    """A source that is a plain mapping."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return self().get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        raise NotImplementedError


class _FileVariables(_Source):
    """``AETHERIUM_NAME_FILE``."""

    def __call__(self) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name in self.settings_cls.model_fields:
            variable = f"{PREFIX}{name.upper()}{FILE_SUFFIX}"
            if path := os.environ.get(variable):
                values[name] = _read_value(variable, Path(path))
        return values


class _Toml(_Source):
    """``aetherium.toml``."""

    def __init__(self, settings_cls: type[BaseSettings], path: Path | None) -> None:
        super().__init__(settings_cls)
        self._values = _read_toml(path, self.settings_cls.model_fields) if path else {}

    def __call__(self) -> dict[str, Any]:
        return self._values


def _memory_mib() -> int:
    """This machine's memory in MiB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20


def default_data_dir() -> Path:
    """``$XDG_DATA_HOME/aetherium``."""
    home = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(home).expanduser() / "aetherium"


def config_file(data_dir: Path) -> Path | None:
    """The file that is read, if there is one. Raises InvalidInput if the named one is missing."""
    if named := os.environ.get(CONFIG_VARIABLE):
        path = Path(named).expanduser()
        if not path.is_file():
            raise InvalidInput(
                f"{CONFIG_VARIABLE} names {named!r}, which is no file.",
                hint="Correct the path or unset the variable.",
                field=CONFIG_VARIABLE,
            )
        return path
    config_home = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
    for path in (data_dir / "aetherium.toml", config_home / "aetherium" / "aetherium.toml"):
        if path.is_file():
            return path
    return None


def _read_toml(path: Path, fields: Mapping[str, FieldInfo]) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} is not valid TOML: {error}.", field=str(path)) from error
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}.", field=str(path)) from error
    for key in values:
        if key not in fields:
            raise _unknown(key, fields, f"{path} has the unknown key {key!r}.")
    return values


def _read_value(variable: str, path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_VALUE + 1)
        if len(data) > _LARGEST_VALUE:
            raise InvalidInput(
                f"{variable} names {str(path)!r}, which is too long for a value.", field=variable
            )
        return data.decode().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"{variable} names {str(path)!r}, which cannot be read: {error}.", field=variable
        ) from error


def _refuse_unknown_variables(fields: Mapping[str, FieldInfo]) -> None:
    for variable in os.environ:
        if not variable.startswith(PREFIX) or variable.startswith(_NOT_SETTINGS):
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name not in fields and name.removesuffix(FILE_SUFFIX.lower()) not in fields:
            raise _unknown(name, fields, f"The environment has the unknown setting {variable}.")


def _unknown(key: str, known: Mapping[str, Any], message: str) -> InvalidInput:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(sorted(known))}."
    return InvalidInput(message, hint=hint, field=key)


def _explain(error: ValidationError) -> InvalidInput:
    first = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        fields = PoolSettings.model_fields if where.startswith("pool.") else Settings.model_fields
        return _unknown(str(first["loc"][-1]), fields, f"There is no setting {where!r}.")
    value = first.get("input")
    return InvalidInput(
        f"The setting {where} is {value!r}: {first['msg']}.", hint="See docs/settings.md.", field=where
    )
