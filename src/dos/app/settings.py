"""Settings: the root of the configuration, one model per room.

Each room defines the model of its own keys; this module puts them together and adds what
belongs to the process (addresses, logging, where data lies). The description of every key is the
string below it: `docs/configuration.md` and the JSON Schema are made from these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from dos.kit import plugins
from dos.kit.duration import Duration
from dos.kit.errors import ConfigError
from dos.kit.secret import Secret


class Section(BaseModel):
    """A part of the configuration: unknown keys are mistakes, and nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class PluginSection(Section):
    """A part whose keys depend on its `type`: those of the plugin's `Config`, beside our own."""

    room: ClassVar[str]
    """Package that holds the plugins."""
    also: ClassVar[Mapping[str, str]] = {}
    """Plugins that live elsewhere in the house: type and module."""

    type: str
    config: SerializeAsAny[BaseModel]
    """The plugin's own keys, validated; in the file they stand beside `type`."""

    @classmethod
    def own_keys(cls) -> list[str]:
        """The keys that are not the plugin's."""
        return [key for key in cls.model_fields if key != "config"]

    @classmethod
    def plugin(cls, kind: str) -> plugins.Plugin[BaseModel, Any]:
        """The plugin of that type.

        Raises:
            ConfigError: There is none, or a package it needs is not installed.
        """
        return plugins.load(cls.room, kind, cls.also)

    @model_validator(mode="before")
    @classmethod
    def _split(cls, raw: object) -> object:
        if not isinstance(raw, dict) or isinstance(raw.get("config"), BaseModel):
            return raw
        kind = raw.get("type")
        if not isinstance(kind, str):
            return {**raw, "config": Section()}  # pydantic's own message about `type` follows
        try:
            plugin = cls.plugin(kind)
        except ConfigError as error:
            context = {"reason": str(error), "known": plugins.names(cls.room, cls.also)}
            refused = PydanticCustomError("plugin_type", "{reason}", context)
            raise _located(cls.__name__, ("type",), refused, kind) from error
        own = {key: raw[key] for key in cls.own_keys() if key in raw}
        rest = {key: value for key, value in raw.items() if key not in own}
        return {**own, "config": plugin.config.model_validate(rest)}

    @model_serializer(mode="plain")
    def _join(self) -> dict[str, object]:
        own = {key: getattr(self, key) for key in self.own_keys()}
        return {**own, **self.config.model_dump(mode="json")}


class SourceSettings(PluginSection):
    """Where telemetry comes from."""

    room = "dos.ingest.sources"
    also: ClassVar[Mapping[str, str]] = {"simulator": "dos.simulate.source"}

    type: str
    """Kind of source; decides which further keys there are."""
    name: str = ""
    """Shown in status and logs; must be unique. The type when left out."""

    @property
    def title(self) -> str:
        """The name, or the type when there is none."""
        return self.name or self.type


class RankerSettings(PluginSection):
    """How root causes are ranked."""

    room = "dos.rca.rankers"

    type: str
    """Ranking method; decides which further keys there are."""


class ServerSettings(Section):
    """The HTTP server."""

    host: str = "127.0.0.1"
    """Address to listen on. Beyond loopback, requests that change something need a token."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """TCP port; 0 lets the system choose a free one."""
    token: Secret | None = None
    """Bearer token that requests which change something must carry."""
    token_file: Path | None = None
    """File that holds the token, instead of `token`."""

    @model_validator(mode="after")
    def _read_token(self) -> ServerSettings:
        if self.token_file is None:
            return self
        if self.token is not None:
            msg = "token and token_file are both set; keep one of them"
            raise ValueError(msg)
        try:
            text = self.token_file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            message = f"{self.token_file} cannot be read: {reason}"
        else:
            if text:
                # Frozen against callers; this is still construction.
                object.__setattr__(self, "token", Secret(text))
                return self
            message = f"{self.token_file} is empty; it must hold the token"
        problem = PydanticCustomError("secret_file", "{reason}", {"reason": message})
        raise _located("ServerSettings", ("token_file",), problem, str(self.token_file))


class LogSettings(Section):
    """Log lines, written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least important level that is still written."""
    format: Literal["auto", "console", "json"] = "auto"
    """`console` for people, `json` for machines, `auto`: console on a terminal, else json."""


class SegmentSettings(Section):
    """The long history: Parquet files of five minutes each."""

    enabled: bool = True
    """Whether samples are kept beyond the recent ones."""
    retention: Duration = 30 * 86400.0
    """How long the files are kept."""


class HistorySettings(Section):
    """How many samples are kept, and for how long."""

    resolution: Annotated[Duration, Field(gt=0)] = 15.0
    """Time slot of the recent samples: the smallest step of your sources. The last sample in a
    slot counts."""
    retention: Annotated[Duration, Field(gt=0)] = 2 * 3600.0
    """How long recent samples are kept ready for analysis and charts."""
    segments: SegmentSettings = SegmentSettings()
    """The long history."""

    @model_validator(mode="after")
    def _slots(self) -> HistorySettings:
        if self.retention < self.resolution:
            msg = "retention must be at least as long as resolution"
            raise ValueError(msg)
        return self


class StorageSettings(Section):
    """Where decisions (incidents, alerts, the outbox) are kept."""

    url: str | None = None
    """SQLAlchemy URL. Left out: the SQLite file `dos.db` in `data_dir`."""


class RecordingSettings(Section):
    """Keeping every input, so that `dos replay` can repeat the run."""

    path: Path | None = None
    """Directory to record into; no recording when left out."""


class RcaSettings(Section):
    """Root cause analysis."""

    ranker: RankerSettings
    """The ranking method and its keys."""


class Settings(Section):
    """The whole configuration. `Settings()` is what DOS runs with when there is no file."""

    data_dir: Path = Path("data")
    """Directory for everything DOS keeps; made when it is missing. Relative paths here and
    elsewhere start at the working directory."""
    server: ServerSettings = ServerSettings()
    """The HTTP server."""
    log: LogSettings = LogSettings()
    """Log lines."""
    sources: Annotated[tuple[SourceSettings, ...], Field(validate_default=True)] = ()
    """Where telemetry comes from."""
    history: HistorySettings = HistorySettings()
    """How many samples are kept."""
    storage: StorageSettings = StorageSettings()
    """Where decisions are kept."""
    recording: RecordingSettings = RecordingSettings()
    """Recording for `dos replay`."""

    @model_validator(mode="before")
    @classmethod
    def _empty_section_is_default(cls, raw: object) -> object:
        # `log:` with all its keys commented out is null in YAML, and means the defaults.
        if isinstance(raw, dict):
            return {key: value for key, value in raw.items() if value is not None}
        return raw

    @field_validator("sources")
    @classmethod
    def _unique_sources(cls, sources: tuple[SourceSettings, ...]) -> tuple[SourceSettings, ...]:
        refuse_repeats([source.title for source in sources], "source")
        return sources

    @property
    def storage_url(self) -> str:
        """Where decisions are kept, as an SQLAlchemy URL."""
        return self.storage.url or f"sqlite+aiosqlite:///{self.data_dir / 'dos.db'}"


def refuse_repeats(names: Sequence[str], noun: str) -> None:
    """Check that names are unique.

    Raises:
        ValidationError: At the `name` of the first item whose name was taken before.
    """
    first: dict[str, int] = {}
    for index, name in enumerate(names):
        if name in first:
            problem = PydanticCustomError(
                "repeated_name",
                "{noun} {name} exists already (item {first}); give this one a `name` of its own",
                {"noun": noun, "name": repr(name), "first": first[name] + 1},
            )
            raise _located("Settings", (index, "name"), problem, name)
        first[name] = index


def _located(
    title: str, location: tuple[str | int, ...], problem: PydanticCustomError, given: object
) -> ValidationError:
    """An error that pydantic reports at `location` below the place where it is raised."""
    details = InitErrorDetails(type=problem, loc=location, input=given)
    return ValidationError.from_exception_data(title, [details])
