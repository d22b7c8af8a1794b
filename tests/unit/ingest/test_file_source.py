from __future__ import annotations

import asyncio
import gzip
from pathlib import Path
from random import Random

import numpy as np
import pytest

from dos.ingest.base import Delivery
from dos.ingest.recorded import read_recording, resolve_edges, workload_of
from dos.ingest.spans import OWN, calls, span_series, table_of
from dos.ingest.tables import read_metrics
from dos.kit.clock import SECOND, ManualClock, Millis
from dos.kit.errors import CorruptDataError, PermanentError
from dos.kit.plugins import load
from dos.model.ids import EntityId
from dos.testing.sinks import RecordingSink
from tests.unit.evaluate.recorded import BEGAN, write_case, write_metrics


def source(path: Path, clock: ManualClock | None = None, **keys: object):  # type: ignore[no-untyped-def] # a plugin, loaded by name
    plugin = load("dos.ingest.sources", "file")
    config = plugin.config.model_validate({"path": path, **keys})
    return plugin.build(config, name="toy", clock=clock or ManualClock(), rng=Random(0))


def replay(path: Path) -> list[tuple[Millis, Delivery]]:
    return list(source(path).deliveries())


def test_a_recording_arrives_row_by_row_in_its_own_time(tmp_path: Path) -> None:
    found = replay(write_case(tmp_path / "toy" / "case-001"))
    (began, first), *rows = found
    assert began == BEGAN * SECOND
    assert {(edge.caller, edge.callee) for edge in first.edges} == {("web", "api"), ("api", "db")}
    assert [entity.id for entity in first.entities] == ["web", "api", "db"]
    assert len(rows) == 90
    at, delivery = rows[5]
    assert at == (BEGAN + 50) * SECOND
    assert delivery.frame is not None
    assert [delivery.frame.series[i].entity for i in delivery.frame.index] == ["web", "db", "db"]
    assert set(delivery.frame.timestamp.tolist()) == {at}
    frames = [one.frame for _, one in rows if one.frame is not None]
    assert all(frame.series is frames[0].series for frame in frames)


def test_changes_arrive_when_they_happened(tmp_path: Path) -> None:
    folder = write_case(tmp_path / "toy" / "case-001")
    (folder / "changes.jsonl").write_text(
        f'{{"time": {BEGAN + 33}, "kind": "deploy", "entity": "db", "summary": "v2"}}\n\n'
    )
    ((at, change),) = [(at, c) for at, one in replay(folder) for c in one.changes]
    assert at == (BEGAN + 40) * SECOND
    assert (change.at, change.kind, change.entity) == ((BEGAN + 33) * SECOND, "deploy", "db")


def test_the_truth_is_not_delivered(tmp_path: Path) -> None:
    found = replay(write_case(tmp_path / "toy" / "case-001"))
    assert "latency-of-the-database" not in repr(found)


def test_the_normal_file_is_history(tmp_path: Path) -> None:
    folder = write_case(tmp_path / "toy" / "case-001", about={"normal": "../normal.csv"})
    rows = "".join(f"{BEGAN + 9_000_000 + i},{i}\n" for i in range(30))
    (folder.parent / "normal.csv").write_text(f"time,db|latency\n{rows}")
    found = replay(folder)
    old = [one.frame for _, one in found if one.history]
    assert sum(len(frame) for frame in old if frame is not None) == 30
    assert all(frame.timestamp.max() < BEGAN * SECOND for frame in old if frame is not None)
    assert [one.history for _, one in found].index(True) == 1


async def test_run_paces_by_the_clock_and_speed(tmp_path: Path) -> None:
    clock, sink = ManualClock(Millis(5_000)), RecordingSink()
    running = source(write_case(tmp_path / "toy" / "case-001"), clock, speed=10)
    task = asyncio.ensure_future(running.run(sink))
    await sink.until(lambda one: len(one.deliveries) == 2)
    for seconds in (1.0, 1.0):
        count = len(sink.deliveries)
        clock.advance(seconds)
        await sink.until(lambda one, before=count: len(one.deliveries) == before + 1)
    task.cancel()
    assert len(sink.deliveries) == 4


async def test_run_can_move_the_recording_to_now(tmp_path: Path) -> None:
    clock, sink = ManualClock(Millis(2_000_000_000_000)), RecordingSink()
    running = source(write_case(tmp_path / "toy" / "case-001"), clock, times="now")
    task = asyncio.ensure_future(running.run(sink))
    await sink.until(lambda one: len(one.deliveries) == 2)
    task.cancel()
    times, _ = sink.samples("db", "latency")
    assert times.tolist() == [2_000_000_000_000]


async def test_run_goes_on_where_it_was(tmp_path: Path) -> None:
    clock = ManualClock()
    running = source(write_case(tmp_path / "toy" / "case-001"), clock)
    first, second = RecordingSink(), RecordingSink()
    task = asyncio.ensure_future(running.run(first))
    await first.until(lambda one: len(one.deliveries) == 2)
    task.cancel()
    task = asyncio.ensure_future(running.run(second))
    await second.until(lambda one: len(one.deliveries) == 1)
    task.cancel()
    assert second.samples("db", "latency")[0].tolist() == [(BEGAN + 10) * SECOND]


def test_now_and_speed_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs `speed: 1`"):
        source(tmp_path, times="now", speed=2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("t,a|b\n1,1\n", r"line 1: there is no column 'time'\. Name the column"),
        ("time,a|b\n1,1\n2,lots\n", r"line 3, column 'a\|b': 'lots' is not a number"),
        ("time,a|b\n1,1\n3,1\n2,1\n", r"line 4: time 2 is not after 3\. Sort the rows"),
        ("time,a|b\n1,1\n1,1\n", r"line 3: time 1 is not after 1"),
        ("time,a|b\n1,1\n,1\n", r"line 3: the time is missing"),
        ("time,a|b,a|b\n1,1,1\n", r"line 1: column 'a\|b' appears twice"),
        ("time,load\n1,1\n", r"line 1: column 'load' is not of the form 'entity\|metric'"),
        ("time,a|b\n1,1\n2,1,7\n", r"line 3: 3 cells, but the header has 2"),
        ("", r"there is no column 'time'"),
    ],
)
def test_a_bad_table_says_where(tmp_path: Path, text: str, said: str) -> None:
    folder = write_metrics(tmp_path / "case-001", text)
    with pytest.raises(CorruptDataError, match=said) as caught:
        replay(folder)
    assert str(folder / "metrics.csv") in str(caught.value)


def test_broken_gzip_is_said_to_be_that(tmp_path: Path) -> None:
    whole = gzip.compress(b"time,a|b\n" + b"".join(b"%d,1\n" % i for i in range(500)))
    for data in (b"time,a|b\n1,1\n", whole[:-20], whole[:60] + b"\x00\x01" + whole[62:]):
        path = tmp_path / "metrics.csv.gz"
        path.write_bytes(data)
        with pytest.raises(CorruptDataError, match=r"metrics\.csv\.gz: broken gzip"):
            read_metrics(path)


def test_no_parquet_and_no_layout(tmp_path: Path) -> None:
    (tmp_path / "metrics.parquet").write_bytes(b"not parquet")
    with pytest.raises(CorruptDataError, match="not a readable Parquet file"):
        read_metrics(tmp_path / "metrics.parquet")
    (tmp_path / "empty").mkdir()
    with pytest.raises(PermanentError, match=r"not a recorded case.* metrics\.csv\.gz"):
        replay(tmp_path / "empty")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("edges.csv", "from,to\na,b\n", r"edges\.csv, line 1: the header must be"),
        ("edges.csv", "caller,callee\na\n", r"edges\.csv, line 2: expected 'caller,callee'"),
        ("changes.jsonl", '{"kind": "deploy"}\n', r"changes\.jsonl, line 1: time: "),
        ("changes.jsonl", "{\n", r"changes\.jsonl, line 1: "),
        ("case.json", "[", r"case\.json: "),
    ],
)
def test_bad_companions_say_where(tmp_path: Path, name: str, text: str, said: str) -> None:
    folder = write_metrics(tmp_path / "case-001", "time,a|b\n1,1\n")
    (folder / name).write_text(text)
    with pytest.raises(CorruptDataError, match=said):
        replay(folder)


@pytest.mark.parametrize(
    ("pod", "workload"),
    [
        ("cartservice-579f59597d-wc2lz", "cartservice"),
        ("carts-db-d765fd64d-67pr6", "carts-db"),
        ("fluentd-x7k2p", "fluentd"),
        ("user-cache", "user-cache"),
        ("queue-master", "queue-master"),
        ("front-end", "front-end"),
        ("PetSite", "PetSite"),
    ],
)
def test_pods_belong_to_workloads(pod: str, workload: str) -> None:
    assert workload_of(pod) == workload


def test_edges_of_workloads_stand_for_their_pods() -> None:
    pods = [EntityId("web-5ff676694b-fzj9z"), EntityId("web-5ff676694b-srh9v"), EntityId("db")]
    assert resolve_edges([("web", "db"), ("db", "s3"), ("db", "db")], pods) == (
        (pods[0], "db"),
        (pods[1], "db"),
        ("db", "s3"),
    )


SPANS = """trace,span,parent,pod,operation,start_us,duration_us
0,0,,web,GET /,1700000000000000,900000
0,1,0,web,call api,1700000000100000,700000
0,2,1,api,serve,1700000000200000,500000
"""


def test_spans_yield_calls_own_time_and_time_on_the_way(tmp_path: Path) -> None:
    folder = write_metrics(tmp_path / "case-001", "time,web|cpu\n1700000000,1\n1700000060,1\n")
    (folder / "traces.csv.gz").write_bytes(gzip.compress(SPANS.encode()))
    recording = read_recording(folder)
    assert recording.edges == (("web", "api"),)
    table = recording.table
    last = {
        (spec.entity, spec.metric): table.values[:, i][np.isfinite(table.values[:, i])].tolist()
        for i, spec in enumerate(table.series)
    }
    assert last["web", "trace_self_seconds_p50"] == pytest.approx([0.2])
    assert last["api", "trace_self_seconds_p50"] == pytest.approx([0.5])
    assert last["web", "trace_network_seconds_p50"] == pytest.approx([0.2])
    assert last["api", "trace_network_seconds_p50"] == pytest.approx([0.2])
    own = {spec.metric for spec in table.series if spec.labels == OWN}
    assert own == {"trace_self_seconds_p50", "trace_self_seconds_p95"}


def test_no_spans_no_series() -> None:
    nothing = table_of([])
    assert calls(nothing) == ()
    times, values, series = span_series(nothing)
    assert (len(times), values.shape, series) == (0, (0, 0), ())


def test_a_bad_span_says_where(tmp_path: Path) -> None:
    folder = write_metrics(tmp_path / "case-001", "time,a|b\n1,1\n")
    (folder / "traces.csv.gz").write_bytes(gzip.compress(SPANS.encode() + b"0,3,1,api,x,soon,1\n"))
    with pytest.raises(CorruptDataError, match=r"traces\.csv\.gz, line 5: not a span"):
        replay(folder)
