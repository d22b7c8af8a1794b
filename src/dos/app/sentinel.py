"""The running application: sources, pipeline, dispatcher and their start, stop and health.

    sources ──deliver──▶ mailbox ──▶ Runner.take (log, step, commit) ──wake──▶ dispatcher
                            ▲                                                     │
      heartbeat, API ───────┘                                        receivers ◀──┘

Tasks: one per source (supervised, so that one's trouble never touches the others), one that
empties the mailbox, the dispatcher, a heartbeat (time passes also when nothing arrives) and
housekeeping (checkpoints). The mailbox is bounded: pull sources wait, pushed samples are refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import cached_property
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Self

from dos.alerting.base import Notifier
from dos.alerting.dispatch import Dispatcher
from dos.app import wiring
from dos.app.exchange import REPLICAS, Exchange
from dos.app.models import ModelBook
from dos.app.recording import Recorder, forget, manifest_of
from dos.app.runner import Kept, Runner
from dos.app.settings import Settings
from dos.app.shown import show_acknowledged
from dos.app.watch import Watchers
from dos.detect import ahead
from dos.ingest.base import Delivery, SourceStatus
from dos.ingest.endpoint import Endpoint
from dos.ingest.normalise import Normaliser
from dos.ingest.supervise import SupervisedSource, Supervisor
from dos.kit import log
from dos.kit.aio import Mailbox
from dos.kit.clock import Clock, Millis, SystemClock
from dos.kit.errors import TransientError
from dos.model.alert import Notification

_logger = log.get("app")

CAPACITY = 64
"""Deliveries that may wait for the pipeline; more make sources wait and pushes fail with 503."""
HEARTBEAT = 1.0
"""Seconds without a delivery after which the pipeline is told that time has passed."""
DRAIN = 5.0
"""Seconds that notifications get to leave when DOS stops; the rest leaves after the restart."""


LOGGED_WITHIN = 8.0
"""Seconds of real time that a sender waits; Prometheus gives up after 10."""


class _Outlet:
    """A source's way into the mailbox."""

    def __init__(self, name: str, sentinel: Sentinel) -> None:
        self._name = name
        self._sentinel = sentinel
        self._mailbox = sentinel.mailbox

    async def deliver(self, delivery: Delivery) -> None:
        """Wait for room."""
        await self._mailbox.put((self._name, delivery))

    def offer(self, delivery: Delivery) -> bool:
        """Refuse when there is none."""
        return self._mailbox.offer((self._name, delivery))

    async def submit(self, delivery: Delivery) -> bool:
        """Wait until it is logged."""
        return await self._sentinel.submit(self._name, delivery)


class Sentinel:
    """Use as an async context manager; inside, everything is open, recovered and running.

    Args:
        settings: The configuration.
        clock: Time for everything that decides.
        seed: For the jitter of retries, and for sources that play with chance.
        offload: Whether pipeline steps run in a worker thread, to keep the event loop free.
        extra_receivers: Notifiers of the embedding program, beside the configured ones.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        *,
        seed: int = 0,
        offload: bool = True,
        extra_receivers: Mapping[str, Notifier] | None = None,
    ) -> None:
        directory = wiring.data_directory(settings)
        promoted = ModelBook(directory).live if directory else None
        if directory and promoted is not None:
            settings = ModelBook(directory).applied(settings)
        self.settings = settings
        self.clock = clock
        self.started_at = clock.now()
        self.mailbox: Mailbox[tuple[str, Delivery]] = Mailbox(CAPACITY)
        self.resumed_at = Millis(0)
        """Time of the last input before this start; 0 at the very first one."""
        self._seed = seed
        self._stack = AsyncExitStack()
        self._tasks, self._beside = list[asyncio.Task[None]](), set[asyncio.Task[None]]()
        self._current: asyncio.Future[None] | None = None
        self._awaited: dict[int, asyncio.Future[None]] = {}  # by identity of the delivery
        extra = dict(extra_receivers or {})
        receivers = wiring.receivers_of(settings, also=list(extra))
        self._recorder: Recorder | None = None
        if settings.recording.path is None:
            forget(directory)
        else:
            self._recorder = Recorder(settings.recording.path, manifest_of(settings, receivers))
            self._recorder.begin(directory, fresh=wiring.is_fresh(settings))
        self.history = wiring.open_history(settings, directory)
        pipeline = wiring.build_pipeline(settings, self.history, receivers)
        self.store = wiring.open_store(settings)
        self._stream = wiring.open_log(log_directory(settings))
        self.normaliser = Normaliser(pipeline.parts.registry, settings.ingest)
        self.runner = Runner(
            pipeline=pipeline,
            kept=Kept(
                stream=self._stream,
                store=self.store,
                checkpoints=wiring.open_checkpoints(directory),
                history=self.history,
            ),
            normaliser=self.normaliser,
            clock=clock,
            offload=offload,
            keep_log=settings.recording.path is not None,
        )
        self.watchers = Watchers(settings, pipeline, receivers, directory, promoted)
        self.runner.followers.append(self.watchers.follow)
        self.dispatcher = Dispatcher(
            self.store,
            {**wiring.build_notifiers(settings, clock), **extra},
            clock,
            Random(f"{seed}/dispatch"),  # noqa: S311  jitter, not a secret
        )
        self.sources = wiring.build_sources(settings, clock, seed)
        self._supervisor = Supervisor([self._supervised(one) for one in self.sources])

    def _supervised(self, one: wiring.NamedSource) -> SupervisedSource:
        return SupervisedSource(
            one.name,
            one.kind,
            one.source,
            _Outlet(one.name, self),
            clock=self.clock,
            rng=Random(f"{self._seed}/supervise/{one.name}"),  # noqa: S311  jitter, not a secret
        )

    @cached_property
    def exchange(self) -> Exchange | None:
        """With other DOS that watch the same, if there are any."""
        replicas = wiring.open_replicas(self.settings, self.clock)
        return Exchange(replicas, self.runner, self.submit, self.clock) if replicas else None

    @cached_property
    def endpoints(self) -> Mapping[str, Endpoint]:
        """What sources that are pushed to want served, by path."""
        return wiring.endpoints_of(self.sources)

    def source_statuses(self) -> Sequence[SourceStatus]:
        """How each source is doing."""
        return self._supervisor.statuses()

    @property
    def failure(self) -> str | None:
        """Why the application no longer works, when it does not."""
        for task in self._tasks:
            if task.done() and not task.cancelled() and task.exception():
                return f"The task {task.get_name()!r} died: {task.exception()!r}."
        return self.runner.progress.trouble

    async def open(self) -> None:
        """Open the store and recover; nothing runs yet."""
        self._stack.callback(self._stream.close)
        self._stack.callback(self.history.close)
        self._stack.push_async_callback(self.store.close)
        await self.store.open()
        self.resumed_at = await self.runner.recover()
        if self.exchange is not None:
            self._stack.push_async_callback(self.exchange.replicas.close)
            await self.exchange.begin()
            self.dispatcher.replicas = self.exchange.replicas
        self.watchers.drift.load()
        self.watchers.refresh()
        if self._recorder is not None:
            await self._recorder.catch_up(self.store)
            self.runner.listeners.append(self._recorder.write)

    def start(self, *, live: bool = True) -> None:
        """Start the tasks; without `live` only delivery, and the caller takes in the input."""
        self.dispatcher.words = wiring.words_of(self.settings)
        self._start("dispatcher", self.dispatcher.run())
        if live:
            self.dispatcher.fallbacks = set(self.runner.pipeline.parts.fallbacks.instead)
            self.dispatcher.undelivered = self._fall_back
            self._start("pipeline", self._pump())
            if self.exchange is not None:
                self._start("replicas", self.exchange.run())
            self._start("sources", self._supervisor.run())
            self._start("heartbeat", self._heartbeat())
            self._start("housekeeping", self._housekeeping())

    def _start(self, name: str, work: Coroutine[None, None, None]) -> None:
        self._tasks.append(asyncio.create_task(work, name=name))

    async def close(self) -> None:
        """Stop taking in, process what was taken, let notifications leave, write a checkpoint."""
        try:
            await self._cancel(lambda task: task.get_name() != "dispatcher")
            await self._drain_in_time()
            await self.settle(DRAIN)
            await self._cancel(lambda _: True)
            for task in self._beside:
                task.cancel()
            await asyncio.gather(*self._beside, return_exceptions=True)
            self.runner.checkpoint()
            self.watchers.drift.save()
        finally:
            await self.dispatcher.close()
            await self._stack.aclose()

    async def settle(self, seconds: float) -> None:
        """Let what is due leave the outbox; wait that many seconds of real time at most."""
        real = SystemClock()
        deadline = real.monotonic() + seconds
        self.dispatcher.wake()
        while await self.store.outbox(self.clock.now(), limit=1):
            if real.monotonic() >= deadline:
                break
            await real.sleep(0.002)

    async def __aenter__(self) -> Self:
        if not ahead.is_compiled():
            _logger.info(
                "compiling detection",
                reason="once after each installation; what comes in waits for up to a minute",
                ahead="python -m dos.detect.ahead",
            )
        try:
            await self.open()
        except BaseException:
            await self._stack.aclose()
            raise
        self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def take(self, name: str, delivery: Delivery) -> None:
        """One delivery through the pipeline, now."""
        awaited = self._awaited.get(id(delivery))

        def logged() -> None:
            if awaited is not None and not awaited.done():
                awaited.set_result(None)

        decisions = await self.runner.take(name, delivery, logged)
        if decisions.events:
            self.dispatcher.wake()
        if self.exchange is not None and name != REPLICAS:
            self.exchange.heard(delivery)
        if delivery.acknowledgements:
            parts = self.runner.pipeline.parts
            with self.runner.lock:
                fires = {one.id: one for one in (*parts.book.firing, *parts.desk.firing)}
            on_it = [one.alert for one in delivery.acknowledgements]
            self.aside(show_acknowledged(self.dispatcher, self.store, on_it, fires))

    def aside(self, work: Coroutine[None, None, None]) -> None:
        """Do what nothing waits for; it is dropped when DOS stops."""
        task = asyncio.create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    async def submit(self, name: str, delivery: Delivery) -> bool:
        """Hand a delivery over, and return once it is in the intake log.

        Returns:
            False if there is no room, or it took too long: the sender has to send it again.
        """
        logged: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._awaited[id(delivery)] = logged
        try:
            if not self.mailbox.offer((name, delivery)):
                return False
            done, _ = await asyncio.wait({logged}, timeout=LOGGED_WITHIN)
            return bool(done)
        finally:
            del self._awaited[id(delivery)]

    async def _fall_back(self, undelivered: Sequence[Notification]) -> bool:
        return await self.submit("delivery", Delivery(undelivered=tuple(undelivered)))

    async def _cancel(self, which: Callable[[asyncio.Task[None]], bool]) -> None:
        chosen = [task for task in self._tasks if which(task)]
        for task in chosen:
            task.cancel()
        await asyncio.gather(*chosen, return_exceptions=True)

    async def _pump(self) -> None:
        while True:
            name, delivery = await self.mailbox.get()
            # A delivery that was taken is finished, also while stopping: its series are
            # registered and its place in the log is given.
            self._current = asyncio.ensure_future(self.take(name, delivery))
            await asyncio.shield(self._current)

    async def _drain(self) -> None:
        if self._current is not None:
            await self._current
        while (item := self.mailbox.get_nowait()) is not None:
            await self.take(*item)

    async def _drain_in_time(self) -> None:
        try:
            await asyncio.wait_for(self._drain(), DRAIN)
        except TimeoutError:
            # The log has the input that waits for the store; what is in the mailbox is lost.
            trouble = self.runner.progress.trouble
            _logger.warning("stopped with work left", waiting=len(self.mailbox), reason=trouble)

    async def _heartbeat(self) -> None:
        seen = -1
        while True:
            await self.clock.sleep(HEARTBEAT)
            if self.runner.progress.intakes == seen:
                self.mailbox.offer(("heartbeat", Delivery()))
            seen = self.runner.progress.intakes

    def _keep(self) -> None:
        """Write down what outlives the process, and see which model is to run in shadow."""
        self.runner.checkpoint()
        with self.runner.lock:
            self.watchers.drift.save()
            self.watchers.refresh()

    async def _housekeeping(self) -> None:
        real = SystemClock()
        while True:
            await real.sleep(self.settings.storage.checkpoint_every)
            try:
                await asyncio.to_thread(self._keep)
            except TransientError as error:  # a full disk: the one there stays until there is room
                _logger.warning("no checkpoint", reason=str(error))
            if self.history.long is not None:
                before = self.clock.now() - round(self.settings.history.segments.retention * 1000)
                await asyncio.to_thread(self.history.long.expire, Millis(before))


def log_directory(settings: Settings) -> Path | None:
    """Where the intake log lies: in the recording, where there is one."""
    if settings.recording.path is not None:
        return settings.recording.path / "intake"
    directory = wiring.data_directory(settings)
    return directory / "intake" if directory else None
