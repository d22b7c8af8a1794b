"""Settings: the root of the configuration, one model per room.

Each room defines the model of its own keys; this module puts them together and adds what
belongs to the process (addresses, logging, where data lies). The description of every key is the
string below it: `docs/configuration.md` and the JSON Schema are made from these.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator

from dos.alerting.base import ROOM as NOTIFIERS
from dos.alerting.base import AlertingConfig, Receiver, ReplicasConfig
from dos.app.diagnose import DiagnosisConfig
from dos.app.section import (
    PluginSection,
    Section,
    plugin_refusal,
    refuse_repeats,
    validate_keys,
)
from dos.detect.calendar import CalendarConfig
from dos.detect.drift import DriftConfig
from dos.detect.engine import ROOM as DETECTORS
from dos.detect.engine import DetectConfig
from dos.detect.feedback import FeedbackConfig
from dos.detect.forecast.base import ForecastConfig
from dos.detect.logs.config import LogsConfig
from dos.impact.base import ImpactConfig
from dos.incidents.correlate import IncidentsConfig
from dos.ingest.normalise import NormaliserConfig
from dos.kit import plugins
from dos.kit.duration import Duration
from dos.kit.errors import ConfigError
from dos.kit.secret import Secret
from dos.topology.base import TopologyConfig


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
        """The name."""
        return self.name


class RankerSettings(PluginSection):
    """How root causes are ranked."""

    room = "dos.rca.rankers"

    type: str
    """Ranking method; decides which further keys there are."""


class ReceiverSettings(PluginSection, Receiver):
    """Who is told."""

    room = NOTIFIERS

    name: str = ""
    """Unique; part of what makes a notification the same one. The type when left out."""
    type: str
    """Kind of channel; decides which further keys there are."""

    @property
    def title(self) -> str:
        """The name."""
        return self.name


class ReplicasSettings(Section, ReplicasConfig):
    """Several DOS that watch the same and tell people once."""


class AlertingSettings(AlertingConfig):
    """When notifications are sent, and to whom."""

    replicas: (  # pyright: ignore[reportIncompatibleVariableOverride]  frozen: never a plain one
        ReplicasSettings | None
    ) = Field(default=None, description=AlertingConfig.model_fields["replicas"].description)
    receivers: (  # pyright: ignore[reportIncompatibleVariableOverride]  frozen: never a plain one
        tuple[ReceiverSettings, ...]
    ) = Field(
        default_factory=lambda: (ReceiverSettings.model_validate({"type": "console"}),),
        description="Who is told.",
    )

    @field_validator("receivers")
    @classmethod
    def _names_unique(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        refuse_repeats([one.title for one in value], "receiver")
        return value


class ServerSettings(Section):
    """The HTTP server."""

    host: str = "127.0.0.1"
    """Address to listen on. Beyond loopback, requests that change something need a token."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """TCP port; 0 lets the system choose a free one."""
    token: Secret | None = None
    """Bearer token that requests which change something must carry."""


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

    resolution: Annotated[Duration, Field(gt=0)] = 5.0
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
    checkpoint_every: Annotated[Duration, Field(gt=0)] = 30.0
    """Real time between checkpoints of the baseline and all other state: bounds how long a start
    after a crash takes."""


class RecordingSettings(Section):
    """Keeping every input, so that `dos replay` can repeat the run."""

    path: Path | None = None
    """Directory to record into; no recording when left out."""


class DetectSettings(DetectConfig):
    """Detection of abnormal series, with the detector's own keys checked."""

    model_config = ConfigDict(validate_default=True)

    shadow: str | None = None
    """A model that runs beside this one without effect: the name of a candidate (see `dos models`),
    a configuration file, or a folder with a network."""

    @field_validator("detector")
    @classmethod
    def _known(cls, detector: str) -> str:
        try:
            plugins.load(DETECTORS, detector)
        except ConfigError as error:
            raise plugin_refusal(error, plugins.names(DETECTORS)) from error
        return detector

    @field_validator("beside", "closely")
    @classmethod
    def _all_known(cls, detectors: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(cls._known(one) for one in detectors)

    @field_validator("options")
    @classmethod
    def _all_fit(cls, options: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for detector, keys in options.items():
            validate_keys(plugins.load(DETECTORS, cls._known(detector)).config, keys)
        return options

    @field_validator("parameters")
    @classmethod
    def _fit(cls, parameters: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        detector = info.data.get("detector")
        if isinstance(detector, str):  # else it was refused already
            validate_keys(plugins.load(DETECTORS, detector).config, parameters)
        return parameters


class RcaSettings(DiagnosisConfig):
    """Root cause analysis: what is looked at, and how it is ranked."""

    ranker: RankerSettings = Field(
        default_factory=lambda: RankerSettings.model_validate({"type": "fused"}),
        description="The ranking method and its keys.",
    )


class Settings(Section):
    """The whole configuration. `Settings()` is what DOS runs with when there is no file."""

    data_dir: Path = Path("data")
    """Directory for everything DOS keeps; made when it is missing. Relative paths here and
    elsewhere start at the working directory."""
    server: ServerSettings = ServerSettings()
    """The HTTP server."""
    log: LogSettings = LogSettings()
    """Log lines."""
    sources: tuple[SourceSettings, ...] = Field(
        default_factory=lambda: (SourceSettings.model_validate({"type": "push"}),),
        description="Where telemetry comes from.",
    )
    ingest: NormaliserConfig = NormaliserConfig()
    """What is taken in."""
    topology: TopologyConfig = TopologyConfig()
    """The dependency graph."""
    detect: DetectSettings = DetectSettings()
    """Detection of abnormal series."""
    calendars: tuple[CalendarConfig, ...] = ()
    """Holidays, on which the daily shape is that of a weekend, and times of planned work."""
    feedback: FeedbackConfig = FeedbackConfig()
    """What labels may change."""
    drift: DriftConfig = DriftConfig()
    """Watching whether what was learned still fits."""
    log_lines: LogsConfig = LogsConfig()
    """What is looked for in the log lines of the watched system."""
    forecast: ForecastConfig = ForecastConfig()
    """Alarms before disks, memory, certificates and quotas run out."""
    incidents: IncidentsConfig = IncidentsConfig()
    """When anomalies are an incident."""
    rca: RcaSettings = RcaSettings()
    """Root cause analysis."""
    impact: ImpactConfig = ImpactConfig()
    """Who is affected, and how badly."""
    alerting: AlertingSettings = AlertingSettings()
    """When notifications are sent, and to whom."""
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
