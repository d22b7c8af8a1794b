"""DOS' own metrics for Prometheus, read from the running application when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from dos.app import overview
from dos.app.sentinel import Sentinel
from dos.ingest.base import SourceHealth
from dos.kit.version import __version__
from dos.model.drift import Fit
from dos.model.overview import Health

_FIT = {fit: number for number, fit in enumerate(Fit)}
_HEALTH = {health: number for number, health in enumerate(Health)}


class SelfMetrics(Collector):
    """All metrics have the prefix `dos_`; nothing is kept between two scrapes."""

    def __init__(self, sentinel: Sentinel) -> None:
        self._sentinel = sentinel
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def render(self) -> bytes:
        """The text format 0.0.4."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Every metric family, as of now."""
        build = GaugeMetricFamily("dos_build_info", "Version of DOS.", labels=["version"])
        build.add_metric([__version__], 1)
        yield build
        yield from self._pipeline()
        yield from self._samples()
        yield from self._sources()
        yield from self._receivers()
        yield from self._watched()
        yield from self._models()

    def _pipeline(self) -> Iterator[Metric]:
        runner = self._sentinel.runner
        progress = runner.progress
        yield CounterMetricFamily("dos_intakes", "Inputs processed.", value=progress.intakes)
        yield CounterMetricFamily(
            "dos_pipeline_step_seconds", "Time spent in pipeline steps.", progress.step_seconds
        )
        yield GaugeMetricFamily(
            "dos_mailbox_waiting", "Deliveries that wait.", len(self._sentinel.mailbox)
        )
        yield CounterMetricFamily(
            "dos_mailbox_refused", "Deliveries refused for want of room.",
            self._sentinel.mailbox.refused,
        )  # fmt: skip
        events = CounterMetricFamily("dos_events", "Decisions by type.", labels=["type"])
        for kind, count in sorted(progress.events.items()):
            events.add_metric([kind], count)
        yield events
        yield GaugeMetricFamily("dos_series", "Series known.", len(runner.pipeline.parts.registry))

    def _samples(self) -> Iterator[Metric]:
        accepted = CounterMetricFamily("dos_samples", "Samples accepted.", labels=["source"])
        refused = CounterMetricFamily(
            "dos_samples_refused", "Samples refused.", labels=["source", "reason"]
        )
        for source in self._sentinel.normaliser.sources:
            counts = self._sentinel.normaliser.counts(source)
            accepted.add_metric([source], counts.accepted)
            for reason, count in counts.refused.items():
                refused.add_metric([source, reason.value], count)
        yield accepted
        yield refused

    def _sources(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("dos_source_up", "Whether the source works.", labels=["source"])
        newest = GaugeMetricFamily(
            "dos_source_last_sample_timestamp_seconds", "Newest sample.", labels=["source"]
        )
        for status in self._sentinel.source_statuses():
            works = status.health in {SourceHealth.OK, SourceHealth.FINISHED}
            up.add_metric([status.name], float(works))
            if status.last_sample_at is not None:
                newest.add_metric([status.name], status.last_sample_at / 1000)
        yield up
        yield newest

    def _receivers(self) -> Iterator[Metric]:
        pending = GaugeMetricFamily(
            "dos_notifications_pending", "Notifications in the outbox.", labels=["receiver"]
        )
        failures = GaugeMetricFamily(
            "dos_receiver_failures", "Failures in a row.", labels=["receiver"]
        )
        for status in self._sentinel.dispatcher.status():
            pending.add_metric([status.name], status.pending)
            failures.add_metric([status.name], status.failures)
        yield pending
        yield failures

    def _watched(self) -> Iterator[Metric]:
        sentinel = self._sentinel
        with sentinel.runner.lock:
            parts = sentinel.runner.pipeline.parts
            step = sentinel.history.resolution / 1000
            services = overview.services(sentinel.runner.pipeline, sentinel.clock.now(), step)
            incidents, anomalies = len(parts.correlator.open), len(parts.correlator.active)
        yield GaugeMetricFamily("dos_incident_open", "Open incidents.", incidents)
        yield GaugeMetricFamily("dos_anomaly_active", "Abnormal series.", anomalies)
        health = GaugeMetricFamily(
            "dos_service_health",
            "0 ok, 1 warning, 2 critical, 3 unknown, 4 idle.",
            labels=["service"],
        )
        score = GaugeMetricFamily(
            "dos_anomaly_score", "Highest anomaly score of its series.", labels=["service"]
        )
        for service in services:
            health.add_metric([service.entity.id], _HEALTH[service.health])
            scores = [one.score for one in service.readings if one.score is not None]
            if scores:
                score.add_metric([service.entity.id], max(scores))
        yield health
        yield score

    def _models(self) -> Iterator[Metric]:
        """Whether what was learned still fits, and what a model in shadow would have done."""
        with self._sentinel.runner.lock:
            readings = self._sentinel.watchers.drift.readings()
            shadow = self._sentinel.watchers.shadow
            status = shadow.status() if shadow else None
        fit = GaugeMetricFamily(
            "dos_drift_fit", "0 learning, 1 fits, 2 shifted, 3 gone.", labels=["group"]
        )
        index = GaugeMetricFamily(
            "dos_drift_stability_index", "Of recent deviations.", labels=["group"]
        )
        bias = GaugeMetricFamily(
            "dos_drift_bias", "Mean deviation in half widths of the band.", labels=["group"]
        )
        for one in readings:
            fit.add_metric([one.group], _FIT[one.fit])
            if one.stability is not None and one.bias is not None:
                index.add_metric([one.group], one.stability)
                bias.add_metric([one.group], one.bias)
        yield fit
        yield index
        yield bias
        if status is not None:
            pages = GaugeMetricFamily(
                "dos_shadow_pages", "Recent pages by who decided on them.", labels=["by"]
            )
            for by, count in (
                ("both", status.both), ("shadow", status.only_shadow), ("live", status.only_live)
            ):  # fmt: skip
                pages.add_metric([by], count)
            yield pages
            yield GaugeMetricFamily(
                "dos_shadow_up", "Whether the shadow works.", float(status.failure is None)
            )
