"""From settings to running parts: the only place where adapters are chosen."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from dos.alerting.base import AlertingConfig, Notifier, Receiver
from dos.alerting.book import AlertBook
from dos.alerting.burns import BurnAlerts
from dos.alerting.desk import Desk
from dos.alerting.escalation import Escalation
from dos.alerting.fallback import Fallbacks
from dos.alerting.oncall import Schedule
from dos.alerting.replicas import Replicas
from dos.alerting.routing import Routing, default_routing, routing_of_file
from dos.alerting.rules import RuleBook
from dos.alerting.words import Words
from dos.app.diagnose import Diagnosis
from dos.app.history import KeptHistory
from dos.app.log_watch import LogWatch
from dos.app.pipeline import Parts, Pipeline
from dos.app.settings import Settings
from dos.bus.base import StreamLog
from dos.bus.memory import MemoryLog
from dos.bus.segment import SegmentLog
from dos.compute.base import CheckpointStore
from dos.compute.checkpoint import FileCheckpointStore, MemoryCheckpointStore
from dos.compute.local import LocalHost
from dos.detect.calendar import Calendars
from dos.detect.engine import DetectKernel
from dos.detect.feedback import FeedbackBook
from dos.detect.forecast.forecaster import Forecaster
from dos.impact.analyzer import ImpactAnalyzer
from dos.impact.ledger import Ledger
from dos.incidents.correlate import Correlator
from dos.ingest.base import Source
from dos.ingest.endpoint import Endpoint, Receiving
from dos.kit.clock import SECOND, Clock
from dos.kit.errors import ConfigError
from dos.model.registry import SeriesRegistry
from dos.rca.base import Ranker
from dos.storage.base import History, LongHistory, Store
from dos.storage.history.ring import RingHistory
from dos.storage.history.segments import SegmentHistory
from dos.storage.memory import MemoryStore
from dos.topology.graph import Topology

IN_MEMORY = "memory://"
"""Storage URL of runs that leave nothing behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedSource:
    """A configured source."""

    name: str
    kind: str
    source: Source


def build_pipeline(settings: Settings, history: History, receivers: Sequence[Receiver]) -> Pipeline:
    """A pipeline without any past, over `history`.

    Args:
        settings: The configuration.
        history: Where samples are kept and windows come from.
        receivers: Who is told.
    """
    registry = SeriesRegistry()
    desk = Desk(routing_of(settings, receivers))
    calendars = Calendars(settings.calendars)
    kernel = DetectKernel(settings.detect, calendars)
    parts = Parts(
        registry=registry,
        history=history,
        topology=Topology(settings.topology),
        kernel=kernel,
        host=LocalHost(kernel),
        forecaster=Forecaster(settings.forecast),
        logs=LogWatch(settings.log_lines, registry),
        feedback=FeedbackBook(settings.feedback, calendars),
        correlator=Correlator(settings.incidents),
        diagnosis=Diagnosis(
            config=settings.rca,
            impact=ImpactAnalyzer(settings.impact),
            ledger=Ledger(settings.impact.slos),
            ranker=build_ranker(settings),
            registry=registry,
            history=history,
        ),
        book=AlertBook(alerting_config(settings, receivers), desk),
        desk=desk,
        fallbacks=fallbacks_of(receivers),
        escalation=escalation_of(settings, receivers, desk),
        burns=burns_of(settings),
        rules=RuleBook(settings.alerting.rules, watchdog=settings.alerting.watchdog),
        stale_after=settings.incidents.stale_after,
    )
    return Pipeline(parts)


def fallbacks_of(receivers: Sequence[Receiver]) -> Fallbacks:
    """Who is told where a receiver cannot be reached.

    Raises:
        ConfigError: A fallback is not a receiver, or they go round in a circle.
    """
    names = {one.name for one in receivers}
    for one in receivers:
        if one.fallback and one.fallback not in names:
            msg = f"alerting.receivers: {one.name} falls back to {one.fallback!r}, which is none"
            raise ConfigError(msg, remedy="Name one of `alerting.receivers`.")
    return Fallbacks({one.name: one.fallback for one in receivers if one.fallback})


def burns_of(settings: Settings) -> BurnAlerts:
    """Alerts on error budgets; none where there are no objectives."""
    rates = settings.impact.burn_rates if settings.impact.slos else ()
    return BurnAlerts({(one.long, one.short): one.severity for one in rates})


def build_ranker(settings: Settings) -> Ranker:
    """The configured ranker."""
    chosen = settings.rca.ranker
    ranker: Ranker = chosen.plugin(chosen.type).build(chosen.config)
    return ranker


def receivers_of(settings: Settings, also: Sequence[str] = ()) -> Sequence[Receiver]:
    """The configured receivers, without their channels' keys, and those named `also`."""
    configured = [
        Receiver(name=one.title, min_severity=one.min_severity, fallback=one.fallback)
        for one in settings.alerting.receivers
    ]
    return [*configured, *(Receiver(name=name) for name in also)]


def alerting_config(settings: Settings, receivers: Sequence[Receiver]) -> AlertingConfig:
    """What the alert book needs to know."""
    names = set(AlertingConfig.model_fields) - {"receivers"}
    own = {name: getattr(settings.alerting, name) for name in names}
    return AlertingConfig(**own, receivers=tuple(receivers))


def routing_of(settings: Settings, receivers: Sequence[Receiver]) -> Routing:
    """By which routes alerts go.

    Raises:
        ConfigError: The file of routes is missing, or something is wrong with it.
    """
    file, calm = settings.alerting.routes_file, settings.alerting.flap_calm
    if not file:
        return replace(default_routing(receivers), flap_calm=calm)
    try:
        text = Path(file).read_text(encoding="utf-8")
    except OSError as error:
        msg = f"alerting.routes_file: {file} cannot be read: {error.strerror}"
        raise ConfigError(msg) from error
    return replace(routing_of_file(text, str(file), receivers), flap_calm=calm)


def escalation_of(settings: Settings, receivers: Sequence[Receiver], desk: Desk) -> Escalation:
    """Who is told further when nobody acknowledges.

    Raises:
        ConfigError: A step names a receiver or a schedule that there is not, or a schedule a
            receiver.
    """
    names = {one.name for one in receivers}
    schedules = schedules_of(settings, receivers)
    for step in (step for policy in settings.alerting.escalation for step in policy.steps):
        for name in step.receivers:
            if name not in names:
                msg = f"alerting.escalation: there is no receiver {name!r}"
                raise ConfigError(msg, remedy="Add it to `alerting.receivers`.")
        for name in step.schedules:
            if name not in schedules:
                msg = f"alerting.escalation: there is no schedule {name!r}"
                raise ConfigError(msg, remedy="Add it to `alerting.schedules`.")
    return Escalation(settings.alerting.escalation, desk.silenced, schedules)


def check_alerting(settings: Settings) -> None:
    """See whether what alerting names is there.

    Raises:
        ConfigError: Something is not, or a file cannot be read.
    """
    receivers = receivers_of(settings)
    fallbacks_of(receivers)
    escalation_of(settings, receivers, Desk(routing_of(settings, receivers)))


def schedules_of(settings: Settings, receivers: Sequence[Receiver]) -> Mapping[str, Schedule]:
    """Who is on call, by the schedules' names.

    Raises:
        ConfigError: One names a receiver that there is not, or has a calendar that makes no sense.
    """
    names = [one.name for one in receivers]
    return {one.name: Schedule(one, names) for one in settings.alerting.schedules}


def build_sources(settings: Settings, clock: Clock, seed: int) -> Sequence[NamedSource]:
    """The configured sources, in order."""
    built = []
    for one in settings.sources:
        rng = Random(f"{seed}/{one.title}")  # noqa: S311  jitter, not a secret
        source: Source = one.plugin(one.type).build(
            one.config, name=one.title, clock=clock, rng=rng
        )
        built.append(NamedSource(name=one.title, kind=one.type, source=source))
    endpoints_of(built)  # refuses two that want the same path
    return built


def endpoints_of(sources: Sequence[NamedSource]) -> Mapping[str, Endpoint]:
    """What sources that are pushed to want served, by path.

    Raises:
        ConfigError: Two want the same path.
    """
    found: dict[str, Endpoint] = {}
    owners: dict[str, str] = {}
    for one in sources:
        for endpoint in one.source.endpoints if isinstance(one.source, Receiving) else ():
            other = owners.setdefault(endpoint.path, one.name)
            if endpoint.path in found:
                msg = f"sources: {other} and {one.name} both want to serve {endpoint.path}."
                raise ConfigError(msg, remedy="Leave one of them away, or give it another path.")
            found[endpoint.path] = endpoint
    return found


def words_of(settings: Settings) -> Mapping[str, Words]:
    """Texts of receivers that have their own."""
    return {
        one.title: Words(one.subject, one.text)
        for one in settings.alerting.receivers
        if one.subject or one.text
    }


def build_notifiers(settings: Settings, clock: Clock) -> Mapping[str, Notifier]:
    """The configured receivers by name."""
    return {
        one.title: one.plugin(one.type).build(one.config, name=one.title, clock=clock)
        for one in settings.alerting.receivers
    }


def data_directory(settings: Settings) -> Path | None:
    """Where files go; None when nothing is to outlive the process (`storage.url: memory://`)."""
    return None if settings.storage_url == IN_MEMORY else settings.data_dir


def is_fresh(settings: Settings) -> bool:
    """Whether the run has no past yet."""
    directory = data_directory(settings)
    if directory is None:
        return True
    return not any((directory / name).exists() for name in ("dos.db", "checkpoint", "intake"))


def open_store(settings: Settings) -> Store:
    """The database of decisions; `memory://` keeps them in the process only."""
    if settings.storage_url == IN_MEMORY:
        return MemoryStore()
    # SQLAlchemy costs 0.3 s to import; a run in memory does without.
    from dos.storage.sql.repositories import SqlStore

    return SqlStore(settings.storage_url)


def open_replicas(settings: Settings, clock: Clock) -> Replicas | None:
    """The other DOS that watch the same; None where there are none.

    Raises:
        ConfigError: The URL of what they share is not one of a database.
    """
    config = settings.alerting.replicas
    if config is None:
        return None
    from dos.storage.sql.shared import SqlSharedLedger  # SQLAlchemy costs 0.3 s to import

    name = config.name or socket.gethostname()
    return Replicas(SqlSharedLedger(config.ledger.reveal(), name), clock)


def open_log(directory: Path | None) -> StreamLog:
    """The intake log; None keeps it in the process only."""
    return SegmentLog(directory) if directory else MemoryLog()


def open_recorded_log(recording: Path) -> StreamLog:
    """The input of a recording, to be read.

    Raises:
        PermanentError: There is none.
        CorruptDataError: It is damaged.
    """
    return SegmentLog(recording / "intake", read_only=True)


def open_long_history(directory: Path) -> LongHistory:
    """The long history that a run keeps in `directory`, to be read."""
    return SegmentHistory(directory / "history")


def open_checkpoints(directory: Path | None) -> CheckpointStore:
    """Where checkpoints go; None keeps them in the process only."""
    return FileCheckpointStore(directory / "checkpoint") if directory else MemoryCheckpointStore()


def open_history(settings: Settings, directory: Path | None) -> KeptHistory:
    """Recent samples, and the long history where it is enabled; None: in the process only."""
    recent = RingHistory(
        directory / "recent" if directory else None,
        resolution_ms=round(settings.history.resolution * SECOND),
        retention_ms=round(settings.history.retention * SECOND),
    )
    long = None
    if directory and settings.history.segments.enabled:
        long = SegmentHistory(directory / "history")
    return KeptHistory(recent, long)
