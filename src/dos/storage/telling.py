"""What several replicas tell each other of what they told: the port, and who is to tell.

Each replica decides for itself, from its own input. Before it tells a receiver of an alert it asks
the ledger that all share whether another one has done so:

    notification ─▶ claim ─▶ told by another: nothing to do
                          ├▶ another is at it: ask again
                          └▶ mine: send, then `told` (or `release`, if it failed)

Replicas make alerts of their own, with ids of their own; what they have in common are *names*: the
fingerprint of labels, or the services that an incident is about. Alerts with a name in common are
the same matter. `answer` decides; it is a plain function, and the ledger only keeps rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from dos.kit.clock import MINUTE, Millis
from dos.model.ids import AlertId

WINDOW = MINUTE
"""How far replicas may be apart in time and still mean the same by the same words."""
RESOLVED = "resolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Saying:
    """What a notification says of one alert."""

    receiver: str
    alert: AlertId
    names: frozenset[str]
    """At least one."""
    state: str
    """`resolved`, or of what fires its state and severity."""
    starts_at: Millis
    decided_at: Millis


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one replica last did about one name at one receiver."""

    replica: str
    name: str
    alert: AlertId
    """Its own alert."""
    matter: AlertId
    """The alert in whose name the receiver was told."""
    state: str
    """Empty: nothing yet."""
    at: Millis
    is_told: bool
    """False: another had told it."""
    claim: str
    """The state that it is telling now."""
    claimed_until: Millis


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Who tells it; of several sayings in one notification, of them all."""

    matters: tuple[AlertId, ...]
    """In whose name each is to be told."""
    told_by: str | None = None
    """Another replica told it all: nothing to do."""
    told_at: tuple[Millis, ...] = ()
    """Then: when each was told."""
    wait_until: Millis | None = None
    """Another replica is at it; it counts as failed by then."""


def answer(me: str, sayings: Sequence[Saying], rows: Sequence[Sequence[Row]], now: Millis) -> Claim:
    """Who is to tell `sayings`.

    Args:
        me: The replica that asks.
        sayings: What it wants to tell.
        rows: For each saying the rows of its receiver that have one of its names.
        now: The time.
    """
    matters = tuple(_matter(me, one, found) for one, found in zip(sayings, rows, strict=True))
    covering = [_covering(me, one, found) for one, found in zip(sayings, rows, strict=True)]
    told = [one for one in covering if one is not None]
    if len(told) == len(covering):
        by = ", ".join(sorted({one.replica for one in told}))
        return Claim(matters=matters, told_by=by, told_at=tuple(one.at for one in told))
    busy = [
        row.claimed_until
        for one, found in zip(sayings, rows, strict=True)
        for row in found
        if row.replica != me and row.claim == one.state and row.claimed_until > now
    ]
    return Claim(matters=matters, wait_until=max(busy) if busy else None)


def _matter(me: str, saying: Saying, rows: Sequence[Row]) -> AlertId:
    """The name under which the receiver knows it: that of the first who told of it."""
    for row in rows:
        if row.replica == me and row.alert == saying.alert:
            return row.matter
    since = saying.starts_at - WINDOW
    others = [row for row in rows if row.replica != me and row.is_told and row.at >= since]
    first = min(others, key=lambda row: (row.at, row.replica), default=None)
    return first.matter if first else saying.alert


def _covering(me: str, saying: Saying, rows: Sequence[Row]) -> Row | None:
    """What another replica told, if that makes `saying` needless."""
    own = [row for row in rows if row.replica == me and row.alert == saying.alert and row.state]
    mine = max(own, key=lambda row: row.at, default=None)
    since = saying.starts_at - WINDOW
    if mine is not None:
        # The same once more is needless only where it was just told; something else is known
        # where it was told after the last that this replica knows of.
        since = saying.decided_at - WINDOW if mine.state == saying.state else mine.at
    found = [row for row in rows if row.replica != me and row.is_told]
    same = [row for row in found if row.state == saying.state and row.at >= since]
    # Late with what is no longer so: the other has gone on to the end of it.
    later = [
        row
        for row in found
        if row.state == RESOLVED and row.at >= saying.decided_at and row.at >= saying.starts_at
    ]
    return max([*same, *later], key=lambda row: (row.at, row.replica), default=None)


class SharedLedger(Protocol):
    """The rows, in a database that all replicas reach. All methods raise `DosError` when not."""

    async def open(self) -> None:
        """Connect, migrate."""
        ...

    async def close(self) -> None:
        """Release everything; idempotent."""
        ...

    async def claim(self, sayings: Sequence[Saying], now: Millis, until: Millis) -> Claim:
        """Who tells them; if it is the caller, no other is told so before `until`."""
        ...

    async def told(
        self, sayings: Sequence[Saying], matters: Sequence[AlertId], now: Millis
    ) -> None:
        """They were told."""
        ...

    async def release(self, sayings: Sequence[Saying]) -> None:
        """They could not be told: any replica may try."""
        ...

    async def say(self, body: str, now: Millis) -> None:
        """Let the other replicas know what somebody said to this one."""
        ...

    async def said(self, after: int, since: Millis) -> Sequence[tuple[int, str]]:
        """What was said to other replicas: sequence number and body, oldest first, at most 500."""
        ...
