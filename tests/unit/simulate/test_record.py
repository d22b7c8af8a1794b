"""What the simulator records is what the readers of recorded cases take."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dos.evaluate.cases import discover, load_case
from dos.evaluate.replay import replay
from dos.ingest.recorded import read_recording
from dos.ingest.tables import read_metrics
from dos.kit.clock import SECOND
from dos.kit.errors import ConfigError
from dos.model.ids import EntityId
from dos.model.telemetry import MetricKind, Role, SeriesSpec
from dos.simulate.engine import Simulation
from dos.simulate.faults import Fault, FaultType
from dos.simulate.record import Form, Plan, Recorded, column_of, record
from dos.simulate.scenario import Scenario, ScheduledFault
from dos.simulate.signals import Amount
from dos.simulate.worlds import shop
from tests.unit.simulate.runs import MONDAY_NOON

FEW = Amount(traces=4, logs=40)


def fault(kind: FaultType = FaultType.NETWORK_LATENCY, target: str = "payment-service") -> Fault:
    return Fault(type=kind, target=EntityId(target), severity=0.9, duration=120.0)


def simulation(step: float = 5.0, **options: Any) -> Simulation:
    return Simulation(shop(), seed=1, step_seconds=step, start=MONDAY_NOON, **options)


def recorded(folder: Path, **plan: Any) -> Recorded:
    wanted = {"duration": 500.0, "normal": 300.0, "fault": fault(), "after": 250.0} | plan
    return record(simulation(), folder, Plan(**wanted), seed=1, amount=FEW)


def lines(path: Path) -> list[Any]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_the_metrics_are_those_of_the_simulation(tmp_path: Path, form: Form) -> None:
    wrote = recorded(tmp_path / "case-001", form=form)
    there = simulation()
    there.ticks(60)
    before = there.ticks(50)
    there.inject(fault())
    after = there.ticks(50)
    width = len(there.series)
    values = np.concatenate([before.value, after.value]).reshape(100, width)
    suffix = "parquet" if form == "parquet" else "csv.gz"
    table = read_metrics(tmp_path / "case-001" / f"metrics.{suffix}")
    assert table.times[0] == MONDAY_NOON + 305 * SECOND
    assert table.values.shape == (100, width)
    assert table.values == pytest.approx(values, rel=1e-12)
    assert wrote.samples == values.size
    for spec, read in zip(there.series, table.series, strict=True):
        assert (read.entity, read.kind) == (spec.entity, spec.kind)
        assert spec.unit in (read.unit, "bytes/s"), "the name says the unit"
        assert read.role is spec.role or spec.metric.startswith("network_")


def test_a_case_is_read_back_whole(tmp_path: Path) -> None:
    wrote = recorded(tmp_path / "case-001")
    (path,) = discover(tmp_path)
    loaded = load_case(path)
    assert loaded.truth is not None
    assert loaded.truth.entity == loaded.truth.service == "payment-service"
    assert loaded.truth.fault == "network_latency"
    assert loaded.case.start == MONDAY_NOON + 550 * SECOND
    assert wrote.truth is not None
    assert loaded.case.end <= wrote.truth.end  # type: ignore[operator]  # it is over
    assert loaded.case.graph is not None
    edges = {(edge.caller, edge.callee) for edge in loaded.case.graph.edges}
    assert {(call.caller, call.callee) for call in shop().calls} <= edges
    assert ("payment-service", "shop-node-b1") in edges, "what runs where"
    recording = read_recording(path)
    assert recording.history is not None
    assert recording.history.times[0] == MONDAY_NOON + 5 * SECOND
    spans = [spec for spec in recording.table.series if spec.metric.startswith("trace_")]
    traced = {
        service.id for service in shop().services if service.kind.value in {"service", "gateway"}
    }
    assert {spec.entity for spec in spans} <= traced
    assert EntityId("payment-service") in {spec.entity for spec in spans}
    assert wrote.spans > 500


def test_dos_replay_finds_the_cause(tmp_path: Path) -> None:
    report = replay(Path(recorded(tmp_path / "case-001", normal=1200.0).folder))
    assert report.truth == ("payment-service",)
    assert report.correct_rank == 1
    assert report.incidents >= 1


def test_the_same_recording_is_the_same_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "a" / "case-001", tmp_path / "b" / "case-001"
    recorded(first)
    recorded(second)
    names = sorted(path.name for path in first.iterdir())
    assert names == [
        "case.json",
        "changes.jsonl",
        "edges.csv",
        "logs.jsonl.gz",
        "metrics.csv.gz",
        "normal.csv.gz",
        "normal_traces.csv.gz",
        "traces.csv.gz",
    ]
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_logs_are_lines_of_json_with_their_truth(tmp_path: Path) -> None:
    wrote = recorded(tmp_path / "case-001", fault=fault(FaultType.ERROR_RATE))
    found = lines(tmp_path / "case-001" / "logs.jsonl.gz")
    assert len(found) == wrote.lines > 1000
    for one in found:
        assert MONDAY_NOON / SECOND + 300 <= one["time"] <= MONDAY_NOON / SECOND + 800
        assert one["severity"] in {"INFO", "WARN", "ERROR", "FATAL"}
        assert one["body"]
        assert one["weight"] >= 1
        assert one["template"].count(".") == 2
    bad = {one["service"] for one in found if "connection pool exhausted" in one["body"]}
    assert bad == {"payment-service"}
    with gzip.open(tmp_path / "case-001" / "traces.csv.gz", "rt") as file:
        traces = {line.split(",")[0] for line in file}
    assert {one["trace"] for one in found if "trace" in one} <= traces


def test_changes_are_those_of_the_case(tmp_path: Path) -> None:
    there = simulation(changes_per_day=2000.0)
    there.ticks(30)
    before = len(there.changes)
    plan = Plan(duration=400.0, fault=fault(FaultType.DEPLOY_REGRESSION), after=200.0)
    record(there, tmp_path / "case-001", plan, amount=FEW)
    recording = read_recording(tmp_path / "case-001")
    assert len(recording.changes) == len(there.changes) - before > 1
    deploy = [one for one in recording.changes if one.entity == "payment-service"]
    assert any(one.at == MONDAY_NOON + 350 * SECOND for one in deploy)


def test_other_incidents_are_left_out(tmp_path: Path) -> None:
    def line(at: float, target: str, kind: str = "error_rate") -> ScheduledFault:
        return ScheduledFault.model_validate(
            {"at": at, "fault": kind, "target": target, "duration": 60, "recovery": 0}
        )

    timeline = [
        line(100, "user-service"),
        line(500, "cart-service"),
        line(20, "frontend", "harmless_deploy"),
    ]
    there = simulation(incidents=Scenario(timeline, shop(), MONDAY_NOON))
    plan = Plan(duration=800.0, fault=fault(), after=300.0)
    wrote = record(there, tmp_path / "case-001", plan, amount=FEW)
    assert wrote.truth is not None
    assert wrote.truth.target == "payment-service"
    about = json.loads((tmp_path / "case-001" / "case.json").read_text())
    begin = MONDAY_NOON / SECOND
    windows = [(round(a - begin), round(b - begin)) for a, b in about["exclude"]]
    assert windows == [(100, 160), (500, 560)]
    table = read_recording(tmp_path / "case-001").without_excluded()
    seconds = (table.times - MONDAY_NOON) / SECOND
    assert not ((seconds >= 100) & (seconds <= 160)).any()
    assert ((seconds > 300) & (seconds < 420)).any()


def test_a_case_without_an_incident_says_so(tmp_path: Path) -> None:
    wrote = recorded(tmp_path / "quiet", fault=None, normal=0.0)
    assert wrote.truth is None
    about = json.loads((tmp_path / "quiet" / "case.json").read_text())
    assert about == {"dataset": "simulator/shop", "case": "quiet"}
    assert load_case(tmp_path / "quiet").truth is None


def test_a_lost_zone_is_blamed_on_a_machine_that_is_measured(tmp_path: Path) -> None:
    wrote = recorded(tmp_path / "case-001", fault=fault(FaultType.ZONE_OUTAGE, "zone-b"))
    loaded = load_case(wrote.folder)
    assert loaded.truth is not None
    assert loaded.truth.entity == "shop-node-b1"


def test_what_cannot_be_recorded_is_refused(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "note").write_text("mine")
    with pytest.raises(ConfigError, match="has something in it"):
        recorded(tmp_path / "full")
    with pytest.raises(ConfigError, match="has no 'nobody'"):
        recorded(tmp_path / "a", fault=fault(target="nobody"))
    assert not (tmp_path / "a").exists()
    with pytest.raises(ConfigError, match="do not fit together"):
        Plan(duration=100.0, after=200.0)


def test_progress_is_told(tmp_path: Path) -> None:
    shares: list[float] = []
    plan = Plan(duration=50.0, normal=50.0, after=50.0)
    record(simulation(), tmp_path / "a", plan, amount=FEW, progress=shares.append)
    assert shares == pytest.approx([number / 20 for number in range(1, 21)])


def test_replicas_and_counters_have_names_of_their_own() -> None:
    spec = SeriesSpec(
        entity=EntityId("a"),
        metric="container_cpu_usage",
        labels=(("k8s.replica", "1"),),
        role=Role.SATURATION,
        unit="ratio",
    )
    assert column_of(spec) == "a|container_cpu_usage_1_ratio"
    counter = SeriesSpec(
        entity=EntityId("a"), metric="restarts", role=Role.OTHER, kind=MetricKind.COUNTER
    )
    assert column_of(counter) == "a|restarts_total"
    there = simulation()
    there.measure_replicas()
    names = [column_of(one) for one in there.series]
    assert len(set(names)) == len(names)
