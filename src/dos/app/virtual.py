"""Runs a sentinel on virtual time: the clock jumps from delivery to delivery."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from dos.app.sentinel import Sentinel
from dos.ingest.base import Delivery
from dos.kit.clock import ManualClock, Millis, SystemClock
from dos.model.events import NotificationQueued

_SETTLE = 10.0
"""Seconds of real time that receivers get to take notifications before time goes on."""


async def play(
    sentinel: Sentinel,
    clock: ManualClock,
    name: str,
    deliveries: Iterable[tuple[Millis, Delivery]],
    after: Callable[[], None] | None = None,
) -> None:
    """Take in `deliveries` as fast as the machine can, each at its time.

    Args:
        sentinel: Open, with its dispatcher running; its clock is `clock`.
        clock: Set to the time of each delivery.
        name: Of the source.
        deliveries: In order of time.
        after: Called after each delivery.
    """
    real, every = SystemClock(), sentinel.settings.storage.checkpoint_every
    checkpoint_due = real.monotonic() + every
    for at, delivery in deliveries:
        clock.set(at)
        decisions = await sentinel.runner.take(name, delivery)
        if any(isinstance(one.event, NotificationQueued) for one in decisions.events):
            await sentinel.settle(_SETTLE)
        if after is not None:
            after()
        if real.monotonic() >= checkpoint_due:
            sentinel.runner.checkpoint()
            checkpoint_due = real.monotonic() + every
        await real.sleep(0)  # let requests to the API have their turn
