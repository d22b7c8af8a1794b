"""File: replays a recorded case directory (layout: `docs/recorded-cases.md`).

`deliveries()` is the recording on its own, virtual time, for replays and benchmarks; `run()`
paces the same deliveries by the clock, for demonstrations. The truth in `case.json` never leaves
this file: nothing of it is delivered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dos.ingest.base import Delivery, Sink
from dos.ingest.playback import deliveries
from dos.ingest.recorded import Recording, read_recording
from dos.kit.clock import SECOND, Clock, Millis
from dos.kit.plugins import Plugin


class Config(BaseModel):
    """Keys of `type: file`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path = Field(description="The case directory.")
    speed: float = Field(
        default=1.0, gt=0, description="How many times faster than it was recorded."
    )
    times: Literal["recorded", "now"] = Field(
        default="recorded", description="Keep the recorded timestamps, or move them to start now."
    )
    longest_wait: float = Field(
        default=300.0,
        gt=0,
        description="Seconds of recorded silence after which the replay skips on.",
    )

    @model_validator(mode="after")
    def _now_is_not_faster(self) -> Config:
        if self.times == "now" and self.speed != 1.0:
            msg = "`times: now` needs `speed: 1`: faster samples would lie in the future"
            raise ValueError(msg)
        return self


class File:
    """Replays one recorded case."""

    def __init__(self, config: Config, *, name: str, clock: Clock, rng: Random) -> None:
        del rng  # a recording leaves nothing to chance
        self._config = config
        self._name = name
        self._clock = clock
        self._recording: Recording | None = None
        self._shift = 0
        self._done = 0
        """Deliveries already handed over, so that a second `run` goes on where the first was."""

    async def run(self, sink: Sink) -> None:
        """Deliver the recording, paced by the clock, and return at its end.

        Raises:
            PermanentError: The directory cannot be read; the message names the place.
        """
        if self._recording is None:
            self._recording = await asyncio.to_thread(read_recording, self._config.path)
            if self._config.times == "now" and len(self._recording.table.times):
                self._shift = self._clock.now() - int(self._recording.table.times[0])
        previous: int | None = None
        for index, (at, delivery) in enumerate(deliveries(self._recording, self._shift)):
            if index < self._done:
                continue
            if previous is not None and at > previous:
                wait = min((at - previous) / SECOND, self._config.longest_wait)
                await self._clock.sleep(wait / self._config.speed)
            await sink.deliver(delivery)
            self._done = index + 1
            previous = at

    def deliveries(self) -> Iterable[tuple[Millis, Delivery]]:
        """What the recording delivers, with the (recorded) time at which it does.

        Raises:
            PermanentError: The directory cannot be read; the message names the place.
        """
        return deliveries(read_recording(self._config.path))


PLUGIN = Plugin(Config, File)
