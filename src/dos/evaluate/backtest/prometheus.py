"""The past from a Prometheus server: the queries of the configured source, over ranges.

The source itself fetches, as it does when it starts and fills in the past. What it delivers is
normalised as ever and put into files in a temporary directory, so that a month of it need not be
in memory and can be run twice.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from dos.app import wiring
from dos.app.history import KeptHistory
from dos.app.settings import Settings, SourceSettings
from dos.evaluate.backtest.past import Around, Past, Stretch, bounds_of, from_samples
from dos.ingest.base import Delivery, Source
from dos.ingest.normalise import Normaliser
from dos.kit.clock import ManualClock, SystemClock
from dos.model.feedback import Feedback
from dos.model.registry import SeriesRegistry
from dos.topology.graph import Topology

_MOST = 100_000
_KIND = "prometheus"


@contextmanager
def fetched(url: str, settings: Settings, stretch: Stretch) -> Iterator[Past]:
    """What a Prometheus server knows of the past; the files are removed at the end.

    Args:
        url: Of the server.
        settings: Whose source of type `prometheus` says what to ask and how, if there is one; its
            first one if there are several. The labels are those in its store.
        stretch: Which part.

    Raises:
        PermanentError: The server has no samples, or refuses.
        TransientError: It cannot be reached.
    """
    with tempfile.TemporaryDirectory(prefix="dos-backtest-") as directory:
        yield asyncio.run(_fetch(url, settings, stretch, Path(directory)))


async def _fetch(url: str, settings: Settings, stretch: Stretch, directory: Path) -> Past:
    clock = ManualClock(stretch.until or SystemClock().now())
    kept = wiring.open_history(settings, directory)
    sink = _Spool(settings=settings, clock=clock, kept=kept)
    source = _source(url, settings, stretch, clock)
    task = asyncio.create_task(source.run(sink))
    present = asyncio.create_task(sink.complete.wait())
    try:
        await asyncio.wait([task, present], return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
    finally:
        for one in (task, present):
            one.cancel()
            with suppress(asyncio.CancelledError):
                await one
        kept.add_series(sink.registry.since(0))
        kept.close()
    long = wiring.open_long_history(directory)
    bounds = bounds_of(long, stretch, url)
    around = Around(
        graphs=[(bounds.first, sink.topology.snapshot(clock.now()))],
        labels=await _labels(settings),
    )
    return from_samples(long, bounds, around, settings, url)


def _source(url: str, settings: Settings, stretch: Stretch, clock: ManualClock) -> Source:
    """The configured source, asked for more of the past."""
    lookback = stretch.since + stretch.learn
    there = next((one for one in settings.sources if one.type == _KIND), None)
    if there is None:
        there = SourceSettings.model_validate({"type": _KIND, "url": url})
    config = there.config.model_copy(update={"url": url, "lookback": lookback})
    made: Source = there.plugin(_KIND).build(
        config,
        name=_KIND,
        clock=clock,
        rng=Random(0),  # noqa: S311  jitter, not a secret
    )
    return made


async def _labels(settings: Settings) -> tuple[Feedback, ...]:
    """What people said to the DOS with these settings, where it has run."""
    directory = wiring.data_directory(settings)
    if directory is None or (settings.storage.url is None and not (directory / "dos.db").exists()):
        return ()
    store = wiring.open_store(settings)
    await store.open()
    try:
        return tuple(await store.feedback(holds=True, limit=_MOST))
    finally:
        await store.close()


@dataclass(slots=True, kw_only=True)
class _Spool:
    """Takes what the source delivers, until it comes to the present."""

    settings: Settings
    clock: ManualClock
    kept: KeptHistory
    registry: SeriesRegistry = field(default_factory=SeriesRegistry)
    complete: asyncio.Event = field(default_factory=asyncio.Event)
    topology: Topology = field(init=False)
    _normaliser: Normaliser = field(init=False)

    def __post_init__(self) -> None:
        self.topology = Topology(self.settings.topology)
        self._normaliser = Normaliser(self.registry, self.settings.ingest)

    async def deliver(self, delivery: Delivery) -> None:
        """Put the samples into the files."""
        now = self.clock.now()
        intake = self._normaliser.take(now, _KIND, delivery)
        self.topology.ensure([one.spec.entity for one in intake.series], now)
        self.topology.apply(intake.entities, intake.edges, now)
        self.kept.add_series(intake.series)
        self.kept.append(intake.metrics)
        self.kept.flush()
        if not delivery.history:
            self.complete.set()

    def offer(self, delivery: Delivery) -> bool:
        """Sources that are pushed to have no past."""
        raise AssertionError(delivery)

    async def submit(self, delivery: Delivery) -> bool:
        """As `offer`."""
        raise AssertionError(delivery)
