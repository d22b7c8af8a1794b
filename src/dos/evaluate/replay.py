"""`dos replay`: recorded input through the same pipeline once more.

A recording of DOS (`manifest.json`) must lead to the recorded decisions byte for byte. A recorded
case (see `docs/recorded-cases.md`) is played through the whole pipeline as a source like any
other, and then ranked from its known start, beside the truth: detection may find the start
earlier, later or not at all, and the benchmark figure of a ranker must not depend on that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

from dos.app import wiring
from dos.app.demo_types import RankedCause
from dos.app.pipeline import Pipeline
from dos.app.recording import read_manifest, settings_of
from dos.app.replay_types import ReplayKind, ReplayReport
from dos.app.sentinel import Sentinel
from dos.app.settings import Settings
from dos.app.virtual import play
from dos.evaluate.cases import discover
from dos.evaluate.score import ScoreReport, rank_case, score_places
from dos.ingest.playback import deliveries
from dos.ingest.recorded import read_recording
from dos.kit.clock import ManualClock, SystemClock
from dos.kit.errors import CorruptDataError
from dos.model.events import Decisions, IncidentChanged, Recorded
from dos.model.ids import IncidentId

_SHOWN = 160


def find(path: Path) -> Sequence[Path]:
    """What there is to replay at `path`: a recording, a case, or every case of a set or of sets.

    Raises:
        PermanentError: There is neither.
    """
    return [path] if (path / "manifest.json").exists() else discover(path)


def replay(path: Path) -> ReplayReport:
    """Replay one recording or case.

    Raises:
        PermanentError: There is neither at `path`.
        CorruptDataError: It is damaged; the message names file and place.
    """
    if (path / "manifest.json").exists():
        return replay_recording(path)
    return replay_case(path)


def summary(reports: Sequence[ReplayReport]) -> ScoreReport:
    """Scores per set (folder of cases) of those reports that are cases with a known cause."""
    sets: dict[str, list[ReplayReport]] = {}
    for report in reports:
        if report.kind is ReplayKind.CASE and report.truth:
            sets.setdefault(report.path.resolve().parent.name, []).append(report)
    return ScoreReport(
        sets=tuple(
            score_places(
                name,
                [one.correct_rank for one in cases],
                [one.rank_seconds for one in cases],
            )
            for name, cases in sets.items()
        )
    )


def replay_recording(path: Path) -> ReplayReport:
    """Repeat a run and compare its decisions with the recorded ones."""
    clock = SystemClock()
    began = clock.monotonic()
    stream = wiring.open_recorded_log(path)
    pipeline = _pipeline(path)
    counts = {"inputs": 0, "samples": 0, "decisions": 0}
    incidents: set[IncidentId] = set()

    def decide() -> Iterator[Recorded]:
        for entry in stream.read(stream.start):
            decisions = pipeline.step(entry.intake, entry.offset)
            counts["inputs"] += 1
            counts["samples"] += len(entry.intake.metrics)
            counts["decisions"] += len(decisions.events)
            for one in decisions.events:
                if isinstance(one.event, IncidentChanged):
                    incidents.add(one.event.incident.id)
                yield one

    difference = _first_difference(path / "decisions.jsonl", decide())
    return ReplayReport(
        path=path,
        kind=ReplayKind.RECORDING,
        inputs=counts["inputs"],
        samples=counts["samples"],
        decisions=counts["decisions"],
        incidents=len(incidents),
        identical=difference is None,
        difference=difference,
        wall_seconds=round(clock.monotonic() - began, 3),
    )


def replay_case(path: Path) -> ReplayReport:
    """Play a recorded case through the pipeline, and rank it from its known start."""
    clock = SystemClock()
    began = clock.monotonic()
    settings = _case_settings()
    played = asyncio.run(_play_case(settings, path))
    ranked = rank_case(path, wiring.build_ranker(settings))
    truth = ranked.truth
    return ReplayReport(
        path=path,
        kind=ReplayKind.CASE,
        inputs=played.intakes,
        samples=played.samples,
        decisions=played.decisions,
        incidents=played.incidents,
        ranked=tuple(
            RankedCause(entity=one.entity, metric=one.metric, probability=one.probability)
            for one in ranked.cause.ranked
        ),
        unknown=ranked.cause.unknown,
        truth=(truth.entity,) if truth else (),
        correct_rank=ranked.place,
        rank_seconds=round(ranked.seconds, 4),
        wall_seconds=round(clock.monotonic() - began, 3),
    )


class _Played:
    """Counts what a run decided."""

    def __init__(self) -> None:
        self.intakes = 0
        self.samples = 0
        self.decisions = 0
        self._incidents: set[IncidentId] = set()

    @property
    def incidents(self) -> int:
        return len(self._incidents)

    def follow(self, decisions: Decisions) -> None:
        self.decisions += len(decisions.events)
        for one in decisions.events:
            if isinstance(one.event, IncidentChanged):
                self._incidents.add(one.event.incident.id)


def _case_settings() -> Settings:
    return Settings.model_validate(
        {
            "storage": {"url": wiring.IN_MEMORY},
            "alerting": {"receivers": []},
        }
    )


async def _play_case(settings: Settings, path: Path) -> _Played:
    clock, played = ManualClock(), _Played()
    sentinel = Sentinel(settings, clock, offload=False)
    sentinel.runner.listeners.append(played.follow)
    await sentinel.open()
    sentinel.start(live=False)
    try:
        await play(sentinel, clock, "file", deliveries(read_recording(path)))
    finally:
        await sentinel.close()
    played.intakes = sentinel.runner.progress.intakes
    played.samples = sentinel.runner.progress.samples
    return played


def _pipeline(path: Path) -> Pipeline:
    """A fresh pipeline with the settings of the recording."""
    manifest = read_manifest(path)
    settings = settings_of(manifest, path)
    history = wiring.open_history(settings, None)
    return wiring.build_pipeline(settings, history, manifest.receivers)


def _first_difference(path: Path, decided: Iterator[Recorded]) -> str | None:
    """The first place where the decisions differ from those in the file, as a sentence.

    Raises:
        CorruptDataError: The file is missing, or its last line is cut off.
    """
    try:
        recorded = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        msg = f"{path} is missing from the recording."
        raise CorruptDataError(msg, remedy="Fetch the whole recording, or record anew.") from None
    if recorded.pop() != b"":
        msg = f"{path}: line {len(recorded) + 1} is cut off."
        raise CorruptDataError(msg, remedy="Fetch an undamaged copy, or record anew.")
    difference = None
    for number, (was, one) in enumerate(zip_longest(recorded, decided), start=1):
        now = None if one is None else one.to_json()
        if was != now and difference is None:
            difference = f"Decision {number}: recorded {_shown(was)}, replayed {_shown(now)}."
    return difference


def _shown(line: bytes | None) -> str:
    if line is None:
        return "nothing"
    text = line.decode("utf-8", "replace")
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
