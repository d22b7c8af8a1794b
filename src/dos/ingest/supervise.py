"""Keeps sources running: retry with backoff, circuit breaker, live status.

Each source runs in a task of its own, so that one's trouble never touches the others. Between
the source and the pipeline's sink sits a watcher that counts what passes and takes each delivery
as the sign that the source works. The status is read at any time from the same event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from dos.ingest.base import Delivery, Sink, Source, SourceHealth, SourceStatus
from dos.kit import log
from dos.kit.clock import SECOND, Clock, Millis
from dos.kit.errors import DosError, PermanentError, TransientError
from dos.kit.retry import Backoff, CircuitBreaker

_log = log.get("ingest")


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisionPolicy:
    """How patient supervision is."""

    backoff: Backoff = field(default=Backoff(first=1.0, floor=0.5))
    threshold: int = 5
    """Failures in a row that open the circuit."""
    cooldown: float = 30.0
    """Seconds an open circuit waits before one trial."""


class SupervisedSource:
    """A source, its retries and its status.

    Args:
        name: Unique name from the configuration.
        kind: The plugin's name (`type:` in the configuration).
        source: The source itself.
        sink: Where its deliveries go.
        clock: Time for waiting and for the status.
        rng: Jitter of the backoff; seeded by the caller.
        policy: How patient to be.
    """

    def __init__(
        self,
        name: str,
        kind: str,
        source: Source,
        sink: Sink,
        *,
        clock: Clock,
        rng: Random,
        policy: SupervisionPolicy | None = None,
    ) -> None:
        self._source = source
        self._policy = policy or SupervisionPolicy()
        self._clock = clock
        self._rng = rng
        self._delays: Iterator[float] = self._policy.backoff.delays(rng)
        self._breaker = CircuitBreaker(
            clock, threshold=self._policy.threshold, cooldown=self._policy.cooldown
        )
        self._status = SourceStatus(name=name, type=kind)
        self._sink = _Watcher(sink, self._delivered)

    @property
    def status(self) -> SourceStatus:
        """How the source is doing now."""
        return replace(self._status, circuit=self._breaker.state, failures=self._breaker.failures)

    async def run(self) -> None:
        """Run the source until it has finished, failed for good, or is cancelled."""
        while True:
            try:
                await self._source.run(self._sink)
            except Exception as raised:  # noqa: BLE001  the supervision boundary: a plugin may raise anything, and must not take the others down
                error = _leading(raised)
                if isinstance(error, PermanentError):
                    self._give_up(error)
                    return
                await self._clock.sleep(self._failed(error))
            else:
                self._status = replace(
                    self._status, health=SourceHealth.FINISHED, error=None, retry_at=None
                )
                _log.info("source finished", source=self._status.name)
                return

    def _delivered(self, delivery: Delivery) -> None:
        """A delivery came through: the source works."""
        was = self._status
        if was.error is not None:
            _log.info("source works again", source=was.name)
        for problem in delivery.problems:
            if problem not in was.problems:
                _log.warning("source works in part", source=was.name, problem=problem)
        self._breaker.succeeded()
        self._delays = self._policy.backoff.delays(self._rng)
        samples, newest = 0, was.last_sample_at
        if delivery.frame is not None and len(delivery.frame):
            samples = len(delivery.frame)
            newest = Millis(max(int(delivery.frame.timestamp.max()), newest or 0))
        self._status = replace(
            was,
            health=SourceHealth.OK,
            error=None,
            retry_at=None,
            problems=delivery.problems,
            last_delivery_at=self._clock.now(),
            last_sample_at=newest,
            deliveries=was.deliveries + 1,
            samples=was.samples + samples,
        )

    def _failed(self, error: Exception) -> float:
        """Note a failure; returns the seconds to wait before the next try."""
        self._breaker.failed()
        asked = error.retry_after if isinstance(error, TransientError) else None
        wait = max(next(self._delays), asked or 0.0, self._breaker.seconds_until_trial())
        self._status = replace(
            self._status,
            health=SourceHealth.RETRYING,
            error=_sentence(error),
            retry_at=Millis(self._clock.now() + round(wait * SECOND)),
        )
        _log.warning(
            "source failed, will retry",
            source=self._status.name,
            error=_sentence(error),
            retry_in=round(wait, 3),
            circuit=self._breaker.state.value,
            exc_info=None if isinstance(error, DosError) else error,
        )
        return wait

    def _give_up(self, error: PermanentError) -> None:
        self._status = replace(
            self._status, health=SourceHealth.FAILED, error=str(error), retry_at=None
        )
        _log.error("source failed for good", source=self._status.name, error=str(error))


class Supervisor:
    """All sources side by side.

    `run` ends when every source has finished or failed for good, which for sources of live
    telemetry is never.
    """

    def __init__(self, sources: Sequence[SupervisedSource]) -> None:
        self._sources = tuple(sources)

    def statuses(self) -> tuple[SourceStatus, ...]:
        """Every source's status now, in the order of the configuration."""
        return tuple(source.status for source in self._sources)

    async def run(self) -> None:
        """Run every source in a task of its own; cancelling cancels them all."""
        async with asyncio.TaskGroup() as tasks:
            for source in self._sources:
                tasks.create_task(source.run(), name=f"source {source.status.name}")


class _Watcher:
    """The sink a supervised source sees: checks, passes on, reports what came through."""

    def __init__(self, sink: Sink, delivered: Callable[[Delivery], None]) -> None:
        self._sink = sink
        self._delivered = delivered

    async def deliver(self, delivery: Delivery) -> None:
        _check(delivery)
        if not delivery.is_empty:
            await self._sink.deliver(delivery)
        self._delivered(delivery)

    def offer(self, delivery: Delivery) -> bool:
        _check(delivery)
        taken = delivery.is_empty or self._sink.offer(delivery)
        if taken:
            self._delivered(delivery)
        return taken

    async def submit(self, delivery: Delivery) -> bool:
        _check(delivery)
        taken = delivery.is_empty or await self._sink.submit(delivery)
        if taken:
            self._delivered(delivery)
        return taken


def _check(delivery: Delivery) -> None:
    """Refuse here, in the source's own task, what would trip the intake that all share.

    Raises:
        PermanentError: A sample points outside the frame's table of series.
    """
    frame = delivery.frame
    if frame is None or not len(frame):
        return
    lowest, highest = int(frame.index.min()), int(frame.index.max())
    if lowest < 0 or highest >= len(frame.series):
        msg = (
            f"The source delivered samples of series {lowest} to {highest} of {len(frame.series)}."
        )
        raise PermanentError(msg, remedy="This is a defect of the source's plugin: report it.")


def _leading(error: Exception) -> Exception:
    """The failure that decides: of a task group's, a permanent one before any other."""
    if not isinstance(error, ExceptionGroup):
        return error
    inner = [_leading(one) for one in error.exceptions]
    return next((one for one in inner if isinstance(one, PermanentError)), inner[0])


def _sentence(error: Exception) -> str:
    """What to show of a failure; foreign exceptions often have no text of their own."""
    return str(error) if isinstance(error, DosError) else f"{type(error).__name__}: {error}"
