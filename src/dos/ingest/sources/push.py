"""Push: a source that others hand samples to, inside this process.

`POST /collect-metrics` calls `offer` from a request's task; supervision runs `run`, which lends
the pipeline's sink for as long as it lives. When the pipeline has no room, or the source does
not run, `offer` says False and the caller answers 503: nothing is queued here.
"""

from __future__ import annotations

from random import Random

from pydantic import BaseModel, ConfigDict

from dos.ingest.base import Delivery, Sink
from dos.ingest.endpoint import Inlet
from dos.kit.clock import Clock
from dos.kit.plugins import Plugin


class Config(BaseModel):
    """Keys of `type: push`: it has none."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Push:
    """Takes what is offered while it runs."""

    def __init__(self, config: Config, *, name: str, clock: Clock, rng: Random) -> None:
        del config, clock, rng  # it decides nothing, so it needs neither time nor chance
        self._name = name
        self._inlet = Inlet()

    async def run(self, sink: Sink) -> None:
        """Lend `sink` to `offer` until cancelled."""
        await self._inlet.run(sink)

    def offer(self, delivery: Delivery) -> bool:
        """Hand `delivery` to the pipeline; False when there is no room or the source is down."""
        return self._inlet.offer(delivery)


PLUGIN = Plugin(Config, Push)
