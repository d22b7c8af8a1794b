"""Feeds the pipeline durably: log, step, commit, checkpoint, and recovery from all of it.

For each delivery, in this order: it is normalised; appended to the intake log; decided on by
`Pipeline.step`; and the decisions are committed in one transaction. A process killed between two
of these loses nothing: on the next start the log is read again from the last checkpoint, the same
decisions come out under the same numbers, and the store skips those it has.

A full disk or an unreachable database does not lose input either: the runner waits and tries
again, and its queue pushes back on the sources.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import TypeVar

from dos.app import state
from dos.app.history import KeptHistory
from dos.app.learn import learn_long, learn_recent
from dos.app.pipeline import Pipeline
from dos.bus.base import StreamLog
from dos.compute.base import Checkpoint, CheckpointStore
from dos.ingest.base import Delivery
from dos.ingest.normalise import Normaliser
from dos.kit import log
from dos.kit.clock import Clock, Millis
from dos.kit.errors import CorruptDataError, TransientError
from dos.kit.retry import Backoff
from dos.model.alert import AlertState
from dos.model.events import Decisions
from dos.model.ids import SeriesId
from dos.model.incident import IncidentState
from dos.model.intake import Intake
from dos.storage.base import Position, Store

T = TypeVar("T")

_logger = log.get("app")
_ADOPT = 10_000
"""Open incidents and alerts looked at on recovery; more are never open at once."""


@dataclass(slots=True, kw_only=True)
class Progress:
    """What the runner did since it started."""

    intakes: int = 0
    samples: int = 0
    events: Counter[str] = field(default_factory=Counter)
    step_seconds: float = 0.0
    trouble: str | None = None
    """Why it is waiting, while it is: a full disk, an unreachable database."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Everything that outlives the process."""

    stream: StreamLog
    store: Store
    checkpoints: CheckpointStore
    history: KeptHistory


class Runner:
    """Owns the pipeline while it runs; one task calls `take`.

    `lock` guards the pipeline's state: a step may run in a worker thread while the event loop
    reads the present state for a request.
    """

    def __init__(
        self,
        *,
        pipeline: Pipeline,
        kept: Kept,
        normaliser: Normaliser,
        clock: Clock,
        offload: bool,
        keep_log: bool = False,
    ) -> None:
        self.pipeline = pipeline
        self.store = kept.store
        self.clock = clock
        self.progress = Progress()
        self.lock = threading.Lock()
        self.committed = 0
        """Number of the last committed event."""
        self.listeners: list[Callable[[Decisions], None]] = []
        """Called with each step's committed decisions, on the event loop; must be quick."""
        self.followers: list[Callable[[Intake, Decisions], None]] = []
        """Called with each input and what was decided on it, under the lock, before the commit."""
        self._stream = kept.stream
        self._checkpoints = kept.checkpoints
        self._history = kept.history
        self._normaliser = normaliser
        self._offload = offload
        self._keep_log = keep_log
        self._writing = threading.Lock()
        """Held while the intake log is changed: checkpoints are written by a worker thread."""
        self._epoch = 0
        self._checkpointed = 0
        """Offset of the newest checkpoint."""
        self._news = asyncio.Event()
        self._rng = Random(0)  # noqa: S311  jitter of retries, not a secret

    async def recover(self) -> Millis:
        """Continue where the last process stopped, however it stopped.

        Returns:
            The time of the last input; 0 when there is none.

        Raises:
            CorruptDataError: The intake log or the store is damaged.
        """
        self._load_checkpoint()
        position = await self.store.position()
        broken = not self._stream.start <= self.pipeline.offset <= self._stream.end
        if self.pipeline.offset < self._stream.start:
            self._relearn(position)
        elif self.pipeline.offset > self._stream.end:
            # A power cut can take the log's last second, but not the checkpoint made from it.
            _logger.warning("input lost", bytes=self.pipeline.offset - self._stream.end)
            self.pipeline.offset = self._stream.end
        replayed = 0
        for entry in self._stream.read(self.pipeline.offset):
            await self.store.commit(self.pipeline.step(entry.intake, entry.offset))
            replayed += 1
        self.pipeline.seq = max(self.pipeline.seq, position.seq)
        self.committed = self.pipeline.seq
        await self._adopt()
        if broken:  # the next start must find a state that the log goes on from
            self.checkpoint()
        latest = self.pipeline.last_sample
        self._normaliser.restore(
            {SeriesId(series): Millis(int(at)) for series, at in enumerate(latest.tolist())}
        )
        if replayed or position.seq:
            _logger.info("recovered", inputs=replayed, last_event=self.pipeline.seq)
        return self.pipeline.now

    @property
    def newest_sample(self) -> Millis:
        """Time of the newest sample taken in; 0 when there is none."""
        return Millis(int(self.pipeline.last_sample.max(initial=0)))

    async def take(
        self, source: str, delivery: Delivery, logged: Callable[[], None] | None = None
    ) -> Decisions:
        """Take in one delivery; returns what was decided, committed.

        Args:
            source: Who delivers.
            delivery: What.
            logged: Called once it is in the intake log, from where no crash takes it.
        """
        now = self.clock.now()
        with self.lock:
            intake = self._normaliser.take(now, source, delivery)
        offset = await self._insist("intake log", lambda: self._append(intake))
        if logged is not None:
            logged()
        before = self.clock.monotonic()
        step = self._step_in_thread if self._offload else self._step
        decisions = await step(intake, offset)
        self.progress.step_seconds += self.clock.monotonic() - before
        self.progress.intakes += 1
        self.progress.samples += len(intake.metrics)
        if decisions.events:
            await self._insist("store", lambda: self.store.commit(decisions))
            self.committed = decisions.events[-1].seq
            self.progress.events.update(one.event.type for one in decisions.events)
            for listener in self.listeners:
                listener(decisions)
            news, self._news = self._news, asyncio.Event()
            news.set()
        return decisions

    async def wait_for_event(self, after: int) -> None:
        """Return once an event beyond `after` is committed."""
        while self.committed <= after:
            await self._news.wait()

    def checkpoint(self) -> None:
        """Write the state down, and let go of the input that led to it."""
        with self.lock:
            if self.pipeline.seq != self.committed:
                # The store does not have the last decisions: they must be made again after a
                # crash, which a state that has made them already would not do.
                return
            data, offset = state.dump(self.pipeline), self.pipeline.offset
            self._history.add_series(self.pipeline.parts.registry.since(0))
        self._history.flush()
        with self._writing:
            self._stream.sync()
        self._checkpoints.save(Checkpoint(epoch=self._epoch, offset=offset, data=data))
        if not self._keep_log:
            # Should this checkpoint be damaged, the one before it needs the input since then.
            with self._writing:
                self._stream.trim(self._checkpointed)
        self._checkpointed = offset

    def _load_checkpoint(self) -> None:
        checkpoint = self._checkpoints.load()
        if checkpoint is None:
            return
        self._epoch = checkpoint.epoch + 1
        self._checkpointed = checkpoint.offset
        try:
            kept = state.load(self.pipeline, checkpoint.data)
        except CorruptDataError as error:
            msg = f"{error.message} Incidents and alerts are safe in the store."
            remedy = "Move the checkpoint files away; the baseline is then learned again."
            raise CorruptDataError(msg, remedy=remedy) from error
        if not kept:  # another model, or another version of it, decides from now on
            now, long = self.pipeline.now, self._history.long
            samples = learn_long(self.pipeline, long, now) if long is not None else 0
            samples = samples or learn_recent(self.pipeline, now)
            _logger.info("baseline learned again", samples=samples)

    def _relearn(self, position: Position) -> None:
        """Without a checkpoint and with a log that was trimmed: learn again what can be learned.

        What the store has decisions on is learned from only; the rest is still to be decided.

        Raises:
            CorruptDataError: Nobody knows any more what the series ids in the log stand for.
        """
        series = self._history.series()
        if self.pipeline.offset or [one.id for one in series] != list(range(len(series))):
            series = ()
        if not series:
            msg = "The checkpoint is lost or too old, and the input that led to it is trimmed."
            remedy = "Move `intake`, `recent` and `checkpoint*` away from the data directory: the "
            remedy += "baseline is then learned again, and incidents and alerts are in the store."
            raise CorruptDataError(msg, remedy=remedy)
        self.pipeline.begin_again(series)
        for entry in self._stream.read(self._stream.start):
            if entry.offset > position.offset:
                break
            self.pipeline.step(replace(entry.intake, history=True), entry.offset)
        self.pipeline.offset = max(self.pipeline.offset, self._stream.start)
        self.pipeline.seq = position.seq
        _logger.warning("checkpoint lost", series=len(series), remedy="The baseline is relearned.")

    async def _adopt(self) -> None:
        """Whatever is open in the store is this pipeline's to resolve, known to it or not."""
        now = self.pipeline.now
        incidents = await self.store.incidents(state=IncidentState.OPEN, limit=_ADOPT)
        open_before = {one.id for one in self.pipeline.parts.correlator.open}
        anomalies = await self.store.anomalies(active=True, limit=_ADOPT)
        self.pipeline.parts.correlator.adopt(incidents, anomalies, now)
        alerts = await self.store.alerts(state=AlertState.FIRING, limit=_ADOPT)
        book, desk = self.pipeline.parts.book, self.pipeline.parts.desk
        known = {alert.id for alert in (*book.firing, *desk.firing)}
        lost = [alert for alert in alerts if alert.id not in known]
        ledgers = [row for alert in lost for row in await self.store.ledger(alert.id)]
        posted = book.adopt(lost, [row.notification for row in ledgers])
        desk.adopt(posted, now)
        if lost or any(one.id not in open_before for one in incidents):
            # What was adopted is not in the intake log: the next recovery must not need it.
            self.checkpoint()

    async def _append(self, intake: Intake) -> int:
        with self._writing:
            return self._stream.append(intake)

    async def _step(self, intake: Intake, offset: int) -> Decisions:
        return self._locked(intake, offset)

    def _locked(self, intake: Intake, offset: int) -> Decisions:
        with self.lock:
            decisions = self.pipeline.step(intake, offset)
            for follow in self.followers:
                follow(intake, decisions)
            return decisions

    async def _step_in_thread(self, intake: Intake, offset: int) -> Decisions:
        return await asyncio.to_thread(self._locked, intake, offset)

    async def _insist(self, what: str, operation: Callable[[], Awaitable[T]]) -> T:
        """Repeat until it works: input that was accepted is not given up."""
        delays = Backoff().delays(self._rng)
        while True:
            try:
                result = await operation()
            except TransientError as error:
                self.progress.trouble = f"The {what} does not take what must be kept: {error}"
                _logger.warning("waiting", part=what, reason=str(error))
                await self.clock.sleep(next(delays))
            else:
                self.progress.trouble = None
                return result
