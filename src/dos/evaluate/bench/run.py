"""Flies a bench: every flight in one of a few processes, each result kept as it comes in.

Concurrency: a pool of spawned processes. They share two things with this one: an event that says
stop, and a counter of how much was flown, for the progress bar. On Ctrl-C the workers ignore the
signal and look at the event at every step; what is done by then is kept.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event

from dos.evaluate.bench.card import ScoreCard, Timing
from dos.evaluate.bench.flight import BenchOptions, Flight, FlightKind, parse_world
from dos.evaluate.bench.fly import Control, fly
from dos.evaluate.bench.outcome import FlightResult
from dos.evaluate.bench.tally import tally
from dos.evaluate.bench.timetable import timetable
from dos.kit import log
from dos.kit.clock import Clock, SystemClock
from dos.kit.errors import PermanentError

_LOOK = 0.2
"""Seconds between two looks at the progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchProgress:
    """How far a bench has come."""

    share: float
    """0 to 1, of the work."""
    flown: int
    planned: int


@dataclass(frozen=True, slots=True)
class _Shared:
    """What the processes share."""

    stop: Event
    work: Synchronized[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Landed:
    """A result and the CPU seconds it took."""

    result: FlightResult
    cpu_seconds: float


_shared: _Shared | None = None
"""In a worker: set once, when it starts."""


def run_bench(
    options: BenchOptions,
    progress: Callable[[BenchProgress], None] | None = None,
    clock: Clock | None = None,
) -> ScoreCard:
    """Fly everything and add it up. An interrupt ends it early; the card then is incomplete.

    Args:
        options: What to fly.
        progress: Called a few times a second.
        clock: Times the bench; the machine's by default.

    Raises:
        PermanentError: A process died.
        KeyboardInterrupt: Interrupted before the first flight was done.
    """
    clock = clock or SystemClock()
    began = clock.monotonic()
    flights = options.flights()
    landed: list[_Landed] = []
    context = multiprocessing.get_context("spawn")
    shared = _Shared(context.Event(), context.Value("d", 0.0))
    pool = ProcessPoolExecutor(
        max_workers=min(options.jobs, len(flights)),
        mp_context=context,
        initializer=_begin,
        initargs=(shared,),
    )
    try:
        _collect(pool, flights, shared, landed, progress)
    except KeyboardInterrupt:
        if not landed:
            raise
    except BrokenProcessPool as error:
        msg = "A process of the bench died; the machine may be out of memory."
        raise PermanentError(msg, remedy="Use fewer --jobs or smaller worlds.") from error
    finally:
        shared.stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
    timing = Timing(
        wall_seconds=round(clock.monotonic() - began, 2),
        cpu_seconds=round(sum(one.cpu_seconds for one in landed), 2),
    )
    return tally([one.result for one in landed], options, len(flights), timing)


def _collect(
    pool: ProcessPoolExecutor,
    flights: tuple[Flight, ...],
    shared: _Shared,
    landed: list[_Landed],
    progress: Callable[[BenchProgress], None] | None,
) -> None:
    """Start every flight and keep what comes back."""
    work = {flight: _work(flight) for flight in flights}
    total = sum(work.values())
    # Faults first, should it be interrupted; of each kind the long flights first, so that the
    # processes end at about the same time.
    ordered = sorted(flights, key=lambda one: (one.kind is FlightKind.QUIET, -work[one]))
    with _deaf():
        waiting: set[Future[_Landed]] = {pool.submit(_fly, flight) for flight in ordered}
    while waiting:
        done, waiting = wait(waiting, timeout=_LOOK, return_when=FIRST_COMPLETED)
        landed += [one.result() for one in done]
        if progress is not None:
            share = min(1.0, shared.work.value / total)
            progress(BenchProgress(share=share, flown=len(landed), planned=len(flights)))


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


def _work(flight: Flight) -> float:
    """Service-steps to be flown; what a flight takes is about proportional to it."""
    services = len(parse_world(flight.world).build(flight.seed).services)
    return timetable(flight).length / flight.step * services


def _begin(shared: _Shared) -> None:
    """Prepare a worker."""
    global _shared  # noqa: PLW0603  a worker is told once; there is no other way in
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    log.configure("error")
    _shared = shared


def _fly(flight: Flight) -> _Landed:
    """In a worker: one flight."""
    if _shared is None:
        msg = "a flight needs a prepared worker"
        raise RuntimeError(msg)
    shared, done = _shared, 0.0

    def tell() -> None:
        nonlocal done
        with shared.work.get_lock():
            shared.work.value += done
        done = 0.0

    def advanced(service_seconds: float) -> None:
        nonlocal done
        done += service_seconds / flight.step
        if done >= 1_000:  # the lock is shared: not at every step
            tell()

    before = os.times()
    result = fly(flight, Control(stopped=shared.stop.is_set, advanced=advanced))
    after = os.times()
    tell()
    cpu_seconds = after.user + after.system - before.user - before.system
    return _Landed(result=result, cpu_seconds=cpu_seconds)
