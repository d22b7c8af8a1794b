"""The simulator as an ingest source, like any other: metrics, entities and edges, no truth.

`run` delivers on the injected clock, `deliveries` as fast as it is asked. Both walk the same
sequence: the graph, the back-fill (in chunks of many timestamps), then one frame per step and
the graph again now and then.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from random import Random
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator

from dos.ingest.base import Delivery, Sink
from dos.kit.clock import SECOND, Clock, Millis, from_rfc3339
from dos.kit.duration import Duration
from dos.kit.errors import ConfigError
from dos.kit.plugins import Plugin
from dos.model.change import Change
from dos.model.telemetry import SampleFrame
from dos.simulate.engine import Simulation
from dos.simulate.faults import FaultType
from dos.simulate.log_stream import LogStream
from dos.simulate.scenario import (
    Dice,
    Incidents,
    RandomIncidents,
    Scenario,
    Scheduled,
)
from dos.simulate.scenario_file import read_scenario
from dos.simulate.workload import Workload
from dos.simulate.worlds import world

_LOG_PAST = 600 * SECOND
_CHUNK_SAMPLES = 120_000
"""Samples in one frame of back-fill, about."""


def _form(scenario: object) -> str:
    return "timeline" if isinstance(scenario, list | tuple) else "file"


class Config(BaseModel):
    """Keys of `type: simulator`."""

    model_config = ConfigDict(extra="forbid")

    world: str = "shop"
    """`shop`, `sketch`, `online-boutique`, `train-ticket`, `generated`, or a YAML file with one."""
    services: int = Field(default=50, ge=4, le=10_000)
    """Size of a generated world."""
    seed: int = 0
    step: Duration = Field(default=15.0, gt=0)
    """Between two samples of a series."""
    history: Duration = 0.0
    """Healthy past delivered as back-fill before the first live sample."""
    start: str | None = None
    """RFC 3339 time of the first live step; now, where it is not given."""
    incidents: Literal["none", "random"] = "none"
    chance: float = Field(default=0.1, ge=0, le=1)
    """Probability per step, while nothing is wrong, that something breaks."""
    quiet: Duration = 0.0
    """After an incident, before the next may begin."""
    weights: dict[FaultType, float] | None = None
    """How often each kind of random incident comes up, relative to the others."""
    at_once: int = Field(default=1, ge=1, le=20)
    """Random incidents that may run at the same time."""
    severity: tuple[float, float] = (0.5, 0.95)
    """Least and most of random incidents, above 0 and up to 1."""
    scenario: (
        Annotated[
            Annotated[list[Scheduled], Tag("timeline")] | Annotated[Path, Tag("file")],
            Discriminator(_form),
        ]
        | None
    ) = None
    """A timeline from the start of live samples, or a YAML file with one, or the name of one that
    comes with DOS. Its lines are faults, as below, and actions such as `{at: 5m, action: scale,
    target: payment-service, replicas: 4}`."""
    changes_per_day: float = Field(default=2.0, ge=0, le=1000)
    """Harmless deployments and settings, over the whole system."""
    nodes: bool = True
    """Whether the machines that the services run on are measured too."""
    replicas: bool = False
    """Whether each replica of a service is measured too."""
    logs: int = Field(default=0, ge=0, le=10_000)
    """Log lines of a step, about, each for as many as there would be; 0 for none. They begin with
    the last ten minutes of `history`."""
    graph_every: Duration = Field(default=300.0, gt=0)
    """How often entities and edges are confirmed."""
    day_amplitude: float = Field(default=0.35, ge=0, lt=0.8)
    """How much traffic rises above its average in the busiest hour, as a ratio."""
    trend: float = Field(default=0.0, gt=-0.5, lt=0.5)
    """Ratio by which traffic grows in a week; below 0 it shrinks."""
    holidays: list[str] | None = None
    """Days with less traffic, as MM-DD; 01-01, 05-01, 12-25 and 12-26 where it is not given."""

    @field_validator("severity")
    @classmethod
    def _in_order(cls, value: tuple[float, float]) -> tuple[float, float]:
        least, most = value
        if not 0 < least <= most <= 1:
            msg = "write the least and the most, above 0 and up to 1, such as [0.5, 0.95]"
            raise ValueError(msg)
        return value

    @field_validator("weights")
    @classmethod
    def _some_weight(cls, value: dict[FaultType, float] | None) -> dict[FaultType, float] | None:
        if value is not None and (min(value.values(), default=0) < 0 or not any(value.values())):
            msg = "write numbers of 0 or more, and one above 0, such as {cpu_spike: 1}"
            raise ValueError(msg)
        return value

    @field_validator("holidays")
    @classmethod
    def _are_days(cls, days: list[str] | None) -> list[str] | None:
        for day in days or ():
            _month_and_day(day)
        return days


class SimulatorSource:
    """Plays a world and delivers what can be seen of it from outside.

    The simulation is built with the first delivery, since only then the clock says when it
    starts. `simulation` gives access to it, for injections and the truth.
    """

    def __init__(self, config: Config, *, name: str, clock: Clock, rng: Random) -> None:
        del rng  # the configured seed alone decides, so that a run can be repeated by itself
        self._config = config
        self._name = name
        self._clock = clock
        self._world = world(config.world, services=config.services, seed=config.seed)
        self._step = round(config.step * SECOND)
        self._origin: Millis | None = None if config.start is None else _start(config, name)
        self._simulation: Simulation | None = None
        self._stream: Iterator[tuple[Millis, Delivery]] | None = None
        self._pending: tuple[Millis, Delivery] | None = None
        self._lines: LogStream | None = None
        self._changes_told = 0
        self._resume_after: Millis | None = None
        if isinstance(config.scenario, Path):
            self._timeline = read_scenario(config.scenario)
        else:
            self._timeline = config.scenario or []
        if self._timeline:
            Scenario(self._timeline, self._world, Millis(0))  # unknown targets are refused now

    @property
    def simulation(self) -> Simulation:
        """The simulation behind the source."""
        if self._simulation is None:
            self._simulation = self._build()
        return self._simulation

    @property
    def origin(self) -> Millis:
        """Time before the first live step; to be configured as `start` to repeat the run."""
        if self._origin is None:
            after = self._resume_after
            now = self._clock.now() if after is None else after
            self._origin = Millis(now - now % self._step)
        return self._origin

    def resume(self, after: Millis) -> None:
        """Go on after `after`, the newest sample the pipeline has, instead of from the start.

        With a configured `start` the same world is regenerated up to `after`, running faults
        included. Without one there is no past to regenerate: the world starts anew at `after`.
        Must be called before the first delivery.
        """
        self._resume_after = after

    async def run(self, sink: Sink) -> None:
        """Deliver each step when the clock reaches it; endless, until cancelled."""
        while True:
            at, delivery = self._peek()
            await self._clock.sleep(max(0.0, (at - self._clock.now()) / SECOND))
            await sink.deliver(delivery)
            self._pending = None

    def deliveries(self, until: Millis) -> Iterator[tuple[Millis, Delivery]]:
        """All that is due up to and including `until`, with the time at which it is due."""
        while True:
            at, delivery = self._peek()
            if at > until:
                return
            self._pending = None
            yield at, delivery

    def _peek(self) -> tuple[Millis, Delivery]:
        """The next delivery, kept until it was handed over."""
        if self._pending is None:
            if self._stream is None:
                self._stream = self._sequence()
            self._pending = next(self._stream)
        return self._pending

    def _sequence(self) -> Iterator[tuple[Millis, Delivery]]:
        simulation, origin = self.simulation, self.origin
        begin = Millis(origin - _LOG_PAST if self._config.logs else origin)
        if self._resume_after is not None:
            simulation.fast_forward(min(self._resume_after, begin))
            self._write_lines(begin)
            self._pass_over(self._resume_after)
            self._changes()  # these were told before
        first = Millis(max(origin, simulation.now))
        # What it says is so now, when it is told, however long ago the healthy past begins.
        yield first, self._graph(first)
        chunk = max(1, _CHUNK_SAMPLES // len(simulation.series))
        while simulation.now < begin:
            left = -(-(begin - simulation.now) // self._step)
            frame = simulation.ticks(min(chunk, left))
            yield origin, Delivery(frame=frame, changes=self._changes(), history=True)
        self._write_lines(begin)
        while simulation.now < origin:
            frame = simulation.tick()
            yield origin, self._told(frame, history=True)
        per_graph = max(1, round(self._config.graph_every / self._config.step))
        for step in count(1):
            frame = simulation.tick()
            yield simulation.now, self._told(frame)
            if step % per_graph == 0:
                yield simulation.now, self._graph(simulation.now)

    def _write_lines(self, begin: Millis) -> None:
        """Services write log lines from now on, if `begin` has come."""
        if self._config.logs and self._lines is None and self.simulation.now >= begin:
            self._lines = LogStream(self.simulation, seed=self._config.seed, most=self._config.logs)

    def _pass_over(self, until: Millis) -> None:
        """Play what was told before, for a run that goes on."""
        if self._lines is None:
            self.simulation.fast_forward(until)
        while self._lines is not None and self.simulation.now + self._step <= until:
            self.simulation.fast_forward(Millis(self.simulation.now + self._step))
            self._lines.pass_over()

    def _told(self, frame: SampleFrame, *, history: bool = False) -> Delivery:
        """What there is to tell of the last tick."""
        lines = None if self._lines is None else self._lines.lines()
        return Delivery(frame=frame, changes=self._changes(), logs=lines, history=history)

    def _changes(self) -> tuple[Change, ...]:
        """Changes not told of yet."""
        new, self._changes_told = self.simulation.operations.since(self._changes_told)
        return tuple(new)

    def _graph(self, at: Millis) -> Delivery:
        """Who there is and who uses whom, as seen at `at`."""
        edges = tuple(replace(one, seen_at=at) for one in self.simulation.edges())
        return Delivery(entities=self.simulation.entities, edges=edges)

    def _build(self) -> Simulation:
        config, origin = self._config, self.origin
        past = -(-round(config.history * SECOND) // self._step) * self._step
        if self._resume_after is not None and config.start is None:
            past = 0
        simulation = Simulation(
            self._world,
            seed=config.seed,
            step_seconds=config.step,
            start=Millis(origin - past),
            incidents=self._incidents(origin),
            workload=_workload(config),
            changes_per_day=config.changes_per_day,
            nodes=config.nodes,
        )
        if config.replicas:
            simulation.measure_replicas()
        return simulation

    def _incidents(self, origin: Millis) -> Incidents | None:
        if self._timeline:
            return Scenario(self._timeline, self._world, origin)
        if self._config.incidents == "random":
            config = self._config
            dice = Dice(
                chance=config.chance,
                quiet=config.quiet,
                at_once=config.at_once,
                weights=config.weights,
                severity=config.severity,
            )
            return RandomIncidents(self._world, config.seed, since=origin, dice=dice)
        return None


def _month_and_day(text: str) -> tuple[int, int]:
    month, _, day = text.partition("-")
    if not (
        month.isdecimal() and day.isdecimal() and 1 <= int(month) <= 12 and 1 <= int(day) <= 31
    ):
        msg = f"{text!r} is not a day; write MM-DD, for example 12-25"
        raise ValueError(msg)
    return int(month), int(day)


def _workload(config: Config) -> Workload:
    usual = Workload(day_amplitude=config.day_amplitude, trend=config.trend)
    if config.holidays is None:
        return usual
    return replace(usual, holidays=frozenset(map(_month_and_day, config.holidays)))


def _start(config: Config, name: str) -> Millis:
    try:
        return from_rfc3339(str(config.start))
    except ValueError as error:
        msg = f"Source {name!r}: start {config.start!r} is not a time."
        raise ConfigError(msg, remedy="Write for example 2026-11-23T14:30:00Z.") from error


PLUGIN = Plugin(Config, SimulatorSource)
