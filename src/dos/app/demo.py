"""`dos demo`: the whole application against the simulator, live or as fast as it goes.

Nothing in the pipeline knows that the system is simulated. The truth is read from the simulator
only here, for the view and the report.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError

from dos.app import overview
from dos.app.demo_plan import plan
from dos.app.demo_report import build_report, truth_notes
from dos.app.demo_types import (
    DemoOptions,
    DemoReport,
    DemoView,
    Notice,
    NoticeKind,
    ViewState,
)
from dos.app.http import address_of, listen, server_for
from dos.app.sentinel import Sentinel
from dos.app.settings import Settings
from dos.app.virtual import play
from dos.ingest.base import Delivery
from dos.kit.clock import SECOND, ManualClock, Millis, ScaledClock, SystemClock, to_rfc3339
from dos.kit.errors import ConfigError
from dos.model.alert import AlertState, Notification
from dos.model.events import Decisions, IncidentChanged
from dos.model.ids import IncidentId
from dos.model.incident import Incident, IncidentState
from dos.simulate.source import SimulatorSource
from dos.simulate.worlds import world as world_of

STEP = 1.0
"""Seconds between two samples."""
WARM_UP = 1800.0
"""Seconds of healthy past that the baseline is learned from before the start."""
LOG_LINES = 10
"""Of a step, about, each for as many as there would be."""
WIND_DOWN = 180.0
"""Simulated seconds after the end that open incidents get to resolve."""
VIRTUAL_START = Millis(1_767_623_400_000)
"""2026-01-05T14:30:00Z: where runs on virtual time begin, so that they can be repeated."""
CHECKPOINT_EVERY = 1.0
"""Seconds of real time: a demonstration is short."""
RECEIVER = "terminal"
_REFRESH = 0.25
_LINES = 8
_UNENDING = 365 * 86_400.0


class _Terminal:
    """The receiver of the demonstration's alerts: the terminal itself."""

    def __init__(self) -> None:
        self.notices: deque[Notice] = deque(maxlen=_LINES)
        self.seen: dict[IncidentId, Incident] = {}
        """Every incident of the run as of its last change, oldest first."""

    def follow(self, decisions: Decisions) -> None:
        """Keep up with the incidents."""
        for one in decisions.events:
            if isinstance(one.event, IncidentChanged):
                self.seen[one.event.incident.id] = one.event.incident

    def recent(self) -> Sequence[Incident]:
        """Open incidents and the few before them, newest first."""
        ordered = list(self.seen.values())[::-1]
        opened = [one for one in ordered if one.state is IncidentState.OPEN]
        ended = [one for one in ordered if one.state is not IncidentState.OPEN]
        return [*opened, *ended[:_LINES]]

    async def send(self, notification: Notification) -> None:
        """Show it."""
        alert = notification.alert
        firing = alert.state is AlertState.FIRING
        summary = dict(alert.annotations).get("summary", alert.id)
        self.notices.append(
            Notice(
                at=notification.created_at,
                kind=NoticeKind.FIRING if firing else NoticeKind.RESOLVED,
                text=f"{alert.severity.value} {summary}",
            )
        )

    async def close(self) -> None:
        """Nothing to release."""


class _Run(BaseModel):
    """What a data directory remembers of its demonstration."""

    world: str
    seed: int
    duration: float | None
    start: int


def run_demo(options: DemoOptions, view: DemoView | None) -> DemoReport:
    """Run until the end, or until SIGINT or SIGTERM when it has none.

    Raises:
        ConfigError: The data directory holds another demonstration.
    """
    with contextlib.ExitStack() as stack:
        directory = options.data_dir
        if directory is None:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dos-demo-")))
        return asyncio.run(_Demo(options, directory, view).run())


class _Demo:
    """One run."""

    def __init__(self, options: DemoOptions, directory: Path, view: DemoView | None) -> None:
        self._options = options
        self._view = view
        self._terminal = _Terminal()
        self._real = SystemClock()
        self._began = self._real.monotonic()
        self._shown = 0.0
        self._address = ""
        self._stop = asyncio.Event()
        virtual = options.speed == 0
        self._start = _remember(options, directory, VIRTUAL_START if virtual else self._real.now())
        length = options.duration if options.duration is not None else _UNENDING
        self._end = Millis(self._start + round(length * SECOND))
        self._clock = (
            ManualClock(self._start) if virtual else ScaledClock(self._start, options.speed)
        )
        self._settings = self._configure(directory)

    async def run(self) -> DemoReport:
        """Play, and say how it went."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop.set)
        sentinel = Sentinel(
            self._settings,
            self._clock,
            seed=self._options.seed,
            offload=isinstance(self._clock, ScaledClock),
            extra_receivers={RECEIVER: self._terminal},
        )
        sentinel.runner.listeners.append(self._terminal.follow)
        await sentinel.open()
        try:
            async with self._serving(sentinel):
                source = _simulator(sentinel)
                if sentinel.runner.newest_sample:
                    source.resume(sentinel.runner.newest_sample)
                if isinstance(self._clock, ManualClock):
                    await self._play(sentinel, source, self._clock)
                else:
                    await self._live(sentinel, self._clock)
                await sentinel.settle(10.0)
                truths = source.simulation.truths
                wall = self._real.monotonic() - self._began
                return await build_report(self._options, sentinel, truths, wall)
        finally:
            await sentinel.close()

    async def _play(self, sentinel: Sentinel, source: SimulatorSource, clock: ManualClock) -> None:
        """As fast as the machine can."""
        sentinel.start(live=False)

        def until_over() -> Iterator[tuple[Millis, Delivery]]:
            last = Millis(self._end + round(WIND_DOWN * SECOND))
            for at, delivery in source.deliveries(last):
                over = at > self._end and not sentinel.runner.pipeline.parts.correlator.open
                if over or self._stop.is_set():
                    return
                yield at, delivery

        name = sentinel.sources[0].name
        await play(sentinel, clock, name, until_over(), lambda: self._show(sentinel, source))

    async def _live(self, sentinel: Sentinel, clock: ScaledClock) -> None:
        """At the pace of the clock."""
        if sentinel.resumed_at:
            clock.rebase(sentinel.resumed_at)
        sentinel.start()
        last = Millis(self._end + round(WIND_DOWN * SECOND))
        while not self._stop.is_set():
            self._show(sentinel, _simulator(sentinel))
            now = clock.now()
            if now > last or (
                now > self._end and not sentinel.runner.pipeline.parts.correlator.open
            ):
                break
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), _REFRESH)

    def _configure(self, directory: Path) -> Settings:
        options = self._options
        duration = options.duration
        faults = plan(world_of(options.world), options.seed, duration)
        receivers: list[dict[str, object]] = []
        if options.webhook is not None:
            host = urlsplit(options.webhook).hostname or ""
            receivers.append({"type": "webhook", "url": options.webhook, "allow_hosts": [host]})
        return Settings.model_validate(
            {
                "data_dir": directory,
                "sources": [
                    {
                        "type": "simulator",
                        "world": options.world,
                        "seed": options.seed,
                        "step": STEP,
                        "history": WARM_UP,
                        "logs": LOG_LINES,
                        "start": to_rfc3339(self._start),
                        "scenario": [fault.model_dump() for fault in faults],
                    }
                ],
                "incidents": {"resolve_after": 8.0, "alone_after": 15.0},
                "alerting": {"group_wait": 4.0, "receivers": receivers},
                "history": {"resolution": STEP, "retention": 7200.0},
                "storage": {"checkpoint_every": CHECKPOINT_EVERY},
                "recording": {"path": options.record},
            }
        )

    @contextlib.asynccontextmanager
    async def _serving(self, sentinel: Sentinel) -> AsyncIterator[None]:
        """Serve the API meanwhile, unless told not to."""
        if not self._options.api:
            yield
            return
        listening = listen(self._options.host, self._options.port)
        self._address = address_of(listening)
        server = server_for(sentinel, log_level="warning", takes_signals=False)
        serving = asyncio.create_task(server.serve(sockets=[listening]), name="api")
        try:
            yield
        finally:
            server.should_exit = True
            await serving

    def _show(self, sentinel: Sentinel, source: SimulatorSource) -> None:
        """Update the view, a few times a second at most."""
        real = self._real.monotonic()
        if self._view is None or real - self._shown < _REFRESH:
            return
        self._shown = real
        now = self._clock.now()
        self._view.update(self._view_state(sentinel, source, now, real - self._began))

    def _view_state(
        self, sentinel: Sentinel, source: SimulatorSource, now: Millis, elapsed: float
    ) -> ViewState:
        with sentinel.runner.lock:
            services = overview.services(sentinel.runner.pipeline, now, STEP)
        progress = sentinel.runner.progress
        total = (self._end - self._start) / SECOND
        done = max(0.0, (now - self._start) / SECOND)
        ends = self._options.duration is not None
        return ViewState(
            now=now,
            services=services,
            incidents=self._terminal.recent(),
            notices=tuple(self._terminal.notices),
            sources=sentinel.source_statuses(),
            truths=truth_notes(source.simulation.truths, self._terminal.seen),
            samples=progress.samples,
            samples_per_second=progress.samples / max(elapsed, 1e-3),
            progress=min(1.0, done / total) if ends else None,
            remaining=max(0.0, total - done) if ends else None,
            phase="watching" if sentinel.runner.pipeline.now >= self._start else "learning",
            address=self._address,
        )


def _simulator(sentinel: Sentinel) -> SimulatorSource:
    source = sentinel.sources[0].source
    if not isinstance(source, SimulatorSource):
        msg = "a demonstration has the simulator as its only source"
        raise TypeError(msg)
    return source


def _remember(options: DemoOptions, directory: Path, start: Millis) -> Millis:
    """When the run began: now, or what the data directory says, to go on with that run.

    Raises:
        ConfigError: The directory holds a run of another world or seed.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "demo.json"
    mine = _Run(world=options.world, seed=options.seed, duration=options.duration, start=start)
    if not path.exists():
        path.write_text(mine.model_dump_json(), "utf-8")
        return start
    try:
        known = _Run.model_validate_json(path.read_bytes())
    except ValidationError as error:
        msg = f"{path} is damaged: {error.errors()[0]['msg']}."
        raise ConfigError(msg, remedy="Choose another --data-dir.") from error
    if known.model_copy(update={"start": start}) != mine:
        msg = f"{directory} holds a run of world {known.world!r} with seed {known.seed}"
        msg += f" and a duration of {known.duration} s."
        raise ConfigError(msg, remedy="Choose another --data-dir, or the same options.")
    return Millis(known.start)
