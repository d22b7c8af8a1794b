"""Scores labelled series with several detectors, in a few processes, and judges the scores.

Concurrency: a pool of spawned processes. A piece of work is one detector and some of the series;
series of about equal length go together, because the product scores them side by side. Workers
ignore Ctrl-C but watch an event that this process sets then, and leave at once: what is done by
then is kept, what is running is given up.
"""

from __future__ import annotations

import gzip
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np

from dos.evaluate.series.candidates import about, build, side_by_side
from dos.evaluate.series.card import (
    RECALL,
    DetectCard,
    DetectorCard,
    Outcome,
    Work,
    detector_card,
    published_rows,
)
from dos.evaluate.series.events import GRACE, judge
from dos.evaluate.series.files import LabelledSeries
from dos.evaluate.series.scorer import FleetScorer, Given, Leak, Scored, looks_ahead
from dos.evaluate.series.vus import areas, main_period
from dos.kit import log
from dos.kit.clock import Clock, SystemClock
from dos.kit.errors import PermanentError
from dos.model.telemetry import BoolArray

_LOOK = 0.2
"""Seconds between two looks at the progress."""
_PIECES = 4
"""Pieces of work per process and detector."""
_PIECES_SIDE_BY_SIDE = 2
"""The same where many series cost hardly more than one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectOptions:
    """What to measure."""

    detectors: tuple[str, ...]
    jobs: int
    recall: float = RECALL
    """Event recall at which false alarms are compared."""
    check_causal: bool = False
    scores: Path | None = None
    """Directory for the score of every point, one file per detector and series."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectProgress:
    """How far a bench has come."""

    share: float
    """0 to 1, of the points."""
    detector: str
    """One that is being measured."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Piece:
    """Work for one process."""

    detector: str
    places: tuple[int, ...]
    """Positions of `series` among all."""
    series: tuple[LabelledSeries, ...]
    options: DetectOptions

    @property
    def points(self) -> int:
        return sum(len(one) for one in self.series)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Done:
    outcomes: tuple[Outcome, ...]
    leaks: tuple[Leak, ...]
    cpu_seconds: float


def run_detect(
    series: Sequence[LabelledSeries],
    options: DetectOptions,
    source: str,
    figures: dict[str, dict[str, float]] | None = None,
    progress: Callable[[DetectProgress], None] | None = None,
    clock: Clock | None = None,
) -> DetectCard:
    """Measure. An interrupt ends it early; the card then is incomplete.

    Args:
        series: With their labels.
        options: What to measure.
        source: Says in words which series these are.
        figures: Published VUS-PR by method and series, to be shown beside.
        progress: Called a few times a second.
        clock: Times the bench; the machine's by default.

    Raises:
        ConfigError: There is no such detector.
        PermanentError: A process died, a peer is not installed, or scores cannot be written.
        KeyboardInterrupt: Interrupted before anything was done.
    """
    clock = clock or SystemClock()
    began = clock.monotonic()
    for name in options.detectors:
        _ = build(name)  # a wrong name is told now, and not by a process
    pieces = [piece for name in options.detectors for piece in _pieces(name, series, options)]
    done: list[tuple[_Piece, _Done]] = []
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    pool = ProcessPoolExecutor(
        max_workers=min(options.jobs, len(pieces)),
        mp_context=context,
        initializer=_begin,
        initargs=(stop,),
    )
    try:
        _collect(pool, pieces, done, progress)
    except KeyboardInterrupt:
        stop.set()
        if not done:
            raise
    except BrokenProcessPool as error:
        msg = "A process of the bench died; the machine may be out of memory."
        raise PermanentError(msg, remedy="Use fewer --jobs.") from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    card = _card(series, options, source, done, complete=len(done) == len(pieces))
    return replace(
        card,
        published=published_rows(series, figures or {}),
        wall_seconds=round(clock.monotonic() - began, 2),
    )


def measure(
    name: str,
    scorer: FleetScorer,
    series: Sequence[LabelledSeries],
    *,
    recall: float = RECALL,
) -> DetectorCard:
    """Measure one scorer in this process: to try parameters that have no name yet.

    Raises:
        PermanentError: A score is not finite.
    """
    outcomes, seconds = _scored(name, scorer, range(len(series)), series, None)
    work = Work(cpu_seconds=round(seconds, 3), points=sum(len(one) for one in series))
    return detector_card(name, name, series, outcomes, work, [], recall=recall)


def _pieces(
    name: str, series: Sequence[LabelledSeries], options: DetectOptions
) -> Iterator[_Piece]:
    """Series in order of length, cut into pieces of about equal work."""
    order = sorted(range(len(series)), key=lambda place: -len(series[place]))
    total = sum(len(one) for one in series)
    share = total / (options.jobs * (_PIECES_SIDE_BY_SIDE if side_by_side(name) else _PIECES))
    chosen: list[int] = []
    for place in order:
        chosen.append(place)
        if sum(len(series[one]) for one in chosen) >= share:
            yield _piece(name, chosen, series, options)
            chosen = []
    if chosen:
        yield _piece(name, chosen, series, options)


def _piece(
    name: str, places: Sequence[int], series: Sequence[LabelledSeries], options: DetectOptions
) -> _Piece:
    mine = tuple(series[place] for place in places)
    return _Piece(detector=name, places=tuple(places), series=mine, options=options)


def _collect(
    pool: ProcessPoolExecutor,
    pieces: Sequence[_Piece],
    done: list[tuple[_Piece, _Done]],
    progress: Callable[[DetectProgress], None] | None,
) -> None:
    """Start every piece and keep what comes back."""
    total = sum(piece.points for piece in pieces)
    with _deaf():
        waiting: dict[Future[_Done], _Piece] = {
            pool.submit(_work, piece): piece for piece in pieces
        }
    while waiting:
        ready, _ = wait(waiting, timeout=_LOOK, return_when=FIRST_COMPLETED)
        done += [(waiting.pop(one), one.result()) for one in ready]
        if progress is not None and waiting:
            share = sum(piece.points for piece, _ in done) / total
            current = next(iter(waiting.values())).detector
            progress(DetectProgress(share=share, detector=current))


@contextmanager
def _deaf() -> Iterator[None]:
    """Processes started inside ignore Ctrl-C from their first moment, imports included."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are not this thread's to change
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _begin(stop: Event) -> None:
    """Prepare a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    log.configure("error")
    threading.Thread(target=_leave, args=(stop,), name="leave", daemon=True).start()


def _leave(stop: Event) -> None:
    """In a worker's own thread: end the process when told to, whatever it is computing."""
    stop.wait()
    os._exit(1)


def _work(piece: _Piece) -> _Done:
    """In a worker: score, judge and, if asked for, write and check."""
    scorer, options = build(piece.detector), piece.options
    outcomes, seconds = _scored(piece.detector, scorer, piece.places, piece.series, options.scores)
    return _Done(
        outcomes=tuple(outcomes),
        leaks=_checked(scorer, _fleet(piece.series)) if options.check_causal else (),
        cpu_seconds=seconds,
    )


def _scored(
    name: str,
    scorer: FleetScorer,
    places: Sequence[int],
    series: Sequence[LabelledSeries],
    folder: Path | None,
) -> tuple[list[Outcome], float]:
    """Outcomes of some series, and the CPU seconds that scoring them took."""
    fleet = _fleet(series)
    before = os.times()
    scored = scorer.score_all(fleet)
    after = os.times()
    if folder is not None:
        for one, said in zip(series, scored, strict=True):
            write_scores(folder, name, one, said)
    outcomes = [
        _judged(name, place, one, said)
        for place, one, said in zip(places, series, scored, strict=True)
    ]
    return outcomes, after.user + after.system - before.user - before.system


def _fleet(series: Sequence[LabelledSeries]) -> list[Given]:
    """What scorers are told: everything but the labels."""
    return [
        Given(name=one.name, values=one.values, prefix=one.prefix, step_s=one.step_s)
        for one in series
    ]


def _checked(scorer: FleetScorer, fleet: Sequence[Given]) -> tuple[Leak, ...]:
    return tuple(looks_ahead(scorer, [one for one in fleet if one.prefix < len(one.values)]))


def _judged(detector: str, place: int, series: LabelledSeries, scored: Scored) -> Outcome:
    if not np.isfinite(scored.score).all():
        raise PermanentError(f"{detector}: a score of {series.name} is not finite.")
    return Outcome(
        detector=detector,
        series=place,
        areas=areas(series.labels, scored.score, main_period(series.values)),
        events=judge(series.labels, scored.alarm, series.prefix, series.step_s),
        hits=tuple(
            bool(_begun(scored.alarm)[max(0, event.first - GRACE) : event.last + GRACE + 1].any())
            for event in series.events
        ),
        score=scored.score,
        rarity=scored.rarity,
    )


def _begun(alarm: BoolArray) -> BoolArray:
    """Where an alarm begins."""
    begun: BoolArray = np.diff(alarm.astype(np.int8), prepend=0) == 1
    return begun


def write_scores(folder: Path, detector: str, series: LabelledSeries, scored: Scored) -> Path:
    """Write `Score,Alarm`, a line for each row of the series' file; empty where it had no value.

    Raises:
        PermanentError: The file cannot be written.
    """
    score = np.full(series.rows, "", dtype=object)
    alarm = np.full(series.rows, "", dtype=object)
    score[series.row] = [repr(value) for value in scored.score.tolist()]
    alarm[series.row] = [str(int(value)) for value in scored.alarm.tolist()]
    lines = [f"{one},{other}" for one, other in zip(score, alarm, strict=True)]
    path = folder / detector.replace(":", "-") / f"{series.name}.csv.gz"
    text = "\n".join(["Score,Alarm", *lines, ""])
    partial = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # No time of writing inside: equal scores are equal bytes.
        partial.write_bytes(gzip.compress(text.encode(), compresslevel=6, mtime=0))
        partial.replace(path)
    except OSError as error:
        raise PermanentError(f"{path}: cannot be written: {error.strerror or error}.") from error
    return path


def _card(
    series: Sequence[LabelledSeries],
    options: DetectOptions,
    source: str,
    done: Sequence[tuple[_Piece, _Done]],
    *,
    complete: bool,
) -> DetectCard:
    return DetectCard(
        about=source,
        series=len(series),
        points=sum(len(one) for one in series),
        days=sum((len(one) - one.prefix) * one.step_s for one in series) / 86_400.0,
        groups=tuple(sorted({one.group for one in series})),
        steps={
            group: tuple(sorted({one.step_s for one in series if one.group == group}))
            for group in sorted({one.group for one in series})
        },
        assumed_prefix=sum(one.assumed_prefix for one in series),
        recall=options.recall,
        checked=options.check_causal,
        complete=complete,
        detectors=tuple(_cards(series, options, done)),
    )


def _cards(
    series: Sequence[LabelledSeries], options: DetectOptions, done: Sequence[tuple[_Piece, _Done]]
) -> Iterator[DetectorCard]:
    for name in options.detectors:
        mine = [(piece, one) for piece, one in done if piece.detector == name]
        if mine:
            yield detector_card(
                name,
                about(name),
                series,
                [outcome for _, one in mine for outcome in one.outcomes],
                Work(
                    cpu_seconds=round(sum(one.cpu_seconds for _, one in mine), 3),
                    points=sum(piece.points for piece, _ in mine),
                ),
                [leak for _, one in mine for leak in one.leaks],
                recall=options.recall,
            )
