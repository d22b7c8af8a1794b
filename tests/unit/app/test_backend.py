"""What the API reads from the running application, and the analysis of posted telemetry."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from dos.api.backend import Case
from dos.api.simulation import ActionOrder
from dos.app.analyze import analyze
from dos.app.backend import PUSH, SentinelBackend
from dos.app.sentinel import Sentinel
from dos.app.settings import Settings
from dos.kit.clock import SECOND, ManualClock, Millis
from dos.kit.errors import PermanentError, TransientError
from dos.kit.version import __version__
from dos.model.entity import EntityKind
from dos.model.graph import EdgeEvidence
from dos.model.ids import EntityId, SeriesId
from dos.model.telemetry import Float64Array, Role, SampleFrame, SeriesSpec
from tests.unit.app import played


@pytest.fixture
async def backend() -> AsyncIterator[SentinelBackend]:
    """A shop whose payments are slow."""
    clock = ManualClock(played.START)
    sentinel = Sentinel(played.settings(), clock, offload=False)
    await sentinel.open()
    sentinel.start(live=False)
    for at, delivery in played.played():
        if at > played.START + 60 * SECOND:
            break
        clock.set(at)
        await sentinel.take("system", delivery)
    yield SentinelBackend(sentinel)
    await sentinel.close()


async def test_who_and_when(backend: SentinelBackend) -> None:
    assert backend.version == __version__
    assert backend.started_at == played.START
    assert backend.clock.now() == played.START + 60 * SECOND
    assert backend.write_token is None
    assert [one.name for one in backend.sources()] == ["simulator"]
    assert len(backend.registry) > 60


async def test_its_simulation_can_be_broken(backend: SentinelBackend) -> None:
    simulators = backend.simulators
    assert simulators is not None
    (status,) = simulators.statuses()
    assert (status.source, status.world, status.services) == ("simulator", "shop", 12)
    # What was taken in came from a source of its own; this one was not played yet.
    assert not status.live
    with pytest.raises(TransientError, match="still delivers its healthy past"):
        simulators.act(ActionOrder(source=None, kind="restart", target="frontend", replicas=None))


async def test_without_a_simulated_source_there_is_none() -> None:
    settings = Settings.model_validate(
        {"storage": {"url": "memory://"}, "sources": [{"type": "push"}]}
    )
    sentinel = Sentinel(settings, ManualClock(played.START), offload=False)
    assert SentinelBackend(sentinel).simulators is None
    await sentinel.open()
    await sentinel.close()


async def test_services_and_graph(backend: SentinelBackend) -> None:
    kinds = Counter(one.entity.kind is EntityKind.NODE for one in backend.services())
    assert (kinds[False], kinds[True]) == (12, 3)
    payment = backend.service(EntityId("payment-service"))
    assert payment is not None
    assert payment.incidents
    assert backend.service(EntityId("nobody")) is None
    graph = backend.graph()
    assert "payment-service" in graph.callees(EntityId("checkout-service"))
    assert graph == await backend.store.graph()


async def test_samples(backend: SentinelBackend) -> None:
    ids = backend.registry.of_entity(EntityId("payment-service"))
    start, end = Millis(played.START - 60 * SECOND), backend.clock.now()
    window = backend.samples([*ids, SeriesId(10**6)], start, end)
    assert window.times[-1] == end
    assert window.values.shape == (len(window.times), len(ids) + 1)
    assert np.isfinite(window.values[:, :-1]).all()
    assert np.isnan(window.values[:, -1]).all()


async def test_it_is_ready(backend: SentinelBackend) -> None:
    ready = backend.ready()
    assert ready.ok
    assert [one.name for one in ready.components] == ["pipeline"]
    await backend.wait_for_event(0)


async def test_pushed_deliveries_wait_in_the_mailbox(backend: SentinelBackend) -> None:
    assert backend.offer(played.played()[0][1])
    sentinel = backend._sentinel
    assert sentinel.mailbox.get_nowait() == (PUSH, played.played()[0][1])


async def test_own_metrics_are_what_prometheus_reads(backend: SentinelBackend) -> None:
    families = {one.name: one for one in text_string_to_metric_families(
        backend.metrics_text().decode()
    )}  # fmt: skip
    assert all(name.startswith("dos_") for name in families)
    assert all(family.documentation for family in families.values())

    def values(name: str, label: str) -> dict[str, float]:
        return {sample.labels[label]: sample.value for sample in families[name].samples}

    assert families["dos_incident_open"].samples[0].value == 1
    assert families["dos_anomaly_active"].samples[0].value > 1
    assert values("dos_service_health", "service")["payment-service"] == 2
    assert values("dos_service_health", "service")["catalog-db"] == 0
    assert values("dos_anomaly_score", "service")["payment-service"] > 0.5
    assert values("dos_build_info", "version") == {__version__: 1.0}
    assert values("dos_samples", "source")["system"] > 1000
    assert values("dos_source_up", "source") == {"simulator": 0.0}, "it never ran here"
    assert values("dos_events", "type")["incident_changed"] >= 1
    assert families["dos_series"].samples[0].value == len(backend.registry)


def spec(entity: str) -> SeriesSpec:
    return SeriesSpec(entity=EntityId(entity), metric="latency", role=Role.LATENCY, unit="seconds")


def posted(values: Float64Array, *, edges: bool = True, began: int | None = None) -> Case:
    """`values` is `[time, series]` of web → shop → db, a sample a second."""
    series = (spec("web"), spec("shop"), spec("db"))
    count, width = values.shape
    return Case(
        frame=SampleFrame(
            series=series[:width],
            index=np.tile(np.arange(width, dtype=np.int32), count),
            timestamp=np.repeat(np.arange(count, dtype=np.int64) * SECOND + played.START, width),
            value=values.ravel(),
        ),
        edges=tuple(
            EdgeEvidence(
                caller=EntityId(a), callee=EntityId(b), source="posted", seen_at=played.START
            )
            for a, b in (("web", "shop"), ("shop", "db"))
        )
        if edges
        else (),
        trouble_began_at=None if began is None else Millis(played.START + began * SECOND),
    )


def calm(count: int = 200, width: int = 3) -> Float64Array:
    draws = np.random.default_rng(5).standard_normal((count, width)) * 0.03
    values: Float64Array = 0.1 * np.exp(draws)
    return values


def faulty() -> Float64Array:
    values = calm()
    values[150:190, 2] += 1.0
    values[151:190, 1] += 1.0
    values[152:190, 0] += 1.0
    return values


async def test_posted_trouble_is_found_and_traced(backend: SentinelBackend) -> None:
    found = backend.analyze(posted(faulty()))
    assert {one.entity for one in found.anomalies} == {"web", "shop", "db"}
    for one in found.anomalies:
        assert played.START + 150 * SECOND <= one.started_at <= played.START + 152 * SECOND
        assert one.ended_at is not None
        assert one.started_at < one.decided_at < one.ended_at
    assert found.root_cause is not None
    assert found.root_cause.ranked[0].entity == "db"
    deviations = [abs(one.deviation) for one in found.anomalies]
    assert deviations == sorted(deviations, reverse=True)


@pytest.mark.parametrize("edges", [True, False])
def test_posted_calm_has_no_cause(edges: bool) -> None:
    result = analyze(played.settings(), posted(calm(), edges=edges))
    assert result.anomalies == ()
    assert result.root_cause is None


def test_who_says_when_it_began_gets_a_ranking_in_any_case() -> None:
    result = analyze(played.settings(), posted(calm(), began=150))
    assert result.anomalies == ()
    assert result.root_cause is not None
    assert result.root_cause.top is None, "nothing stands out, and it says so"


def test_without_edges_the_series_alone_are_ranked() -> None:
    result = analyze(played.settings(), posted(faulty(), edges=False))
    assert result.root_cause is not None
    assert {one.entity for one in result.root_cause.ranked} <= {"web", "shop", "db"}


def test_gaps_and_infinities_are_left_out() -> None:
    values = faulty()
    values[::7, 0] = np.nan
    values[3::11, 1] = np.inf
    result = analyze(played.settings(), posted(values))
    assert {one.entity for one in result.anomalies} == {"web", "shop", "db"}


def test_an_anomaly_that_lasts_has_no_end() -> None:
    values = calm()
    values[190:, 2] += 1.0
    (one,) = analyze(played.settings(), posted(values)).anomalies
    assert one.ended_at is None


def test_nothing_finite_is_refused() -> None:
    with pytest.raises(PermanentError, match="no finite sample"):
        analyze(played.settings(), posted(np.full((10, 3), np.nan)))


def test_far_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dos.app.analyze._MOST_CELLS", 100)
    with pytest.raises(PermanentError, match=r"200 times of 3 series are too many.*shorter"):
        analyze(played.settings(), posted(faulty()))
