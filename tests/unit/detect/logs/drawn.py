"""Lines for the tests of log analysis."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from dos.kit.clock import SECOND, Millis
from dos.model.ids import EntityId
from dos.model.logs import LogBatch, LogLine

NOON = Millis(1_767_614_400_000)
CART = EntityId("cart")


def at(seconds: float) -> Millis:
    return Millis(NOON + round(seconds * SECOND))


def line(
    body: str | bytes,
    seconds: float = 0.0,
    *,
    entity: EntityId = CART,
    severity: int = 0,
    weight: float = 1.0,
) -> LogLine:
    raw = body if isinstance(body, bytes) else body.encode("utf-8", "surrogateescape")
    return LogLine(entity=entity, timestamp=at(seconds), body=raw, severity=severity, weight=weight)


def batch(*bodies: str | bytes, seconds: float = 0.0) -> LogBatch:
    return LogBatch.of(line(body, seconds) for body in bodies)


def usual(first: float, last: float, seed: int = 1, *, rate: float = 4.0) -> list[LogLine]:
    """A healthy service: about `rate` lines a second of three kinds, and an error now and then."""
    rng = Random(f"{seed}/{first}")
    lines = []
    for second in range(int(first), int(last)):
        for _ in range(round(rng.expovariate(1 / rate))):
            code = rng.choice((200, 200, 200, 404))
            ms = round(rng.lognormvariate(3.0, 0.5))
            user = f"u{rng.randrange(9999)}"
            kind = rng.random()
            if kind < 0.8:
                lines.append(line(f"GET /cart/{user} {code} in {ms} ms", second, severity=9))
            elif kind < 0.98:
                lines.append(line(f"session of {user} refreshed", second, severity=9))
            else:
                lines.append(
                    line(f"retrying call to stock-db, attempt {code}", second, severity=13)
                )
    return lines


def by_second(lines: Iterable[LogLine]) -> list[tuple[Millis, LogBatch]]:
    """Batches as a source would deliver them: one for each second in which there are lines."""
    seconds: dict[int, list[LogLine]] = {}
    for one in lines:
        seconds.setdefault(one.timestamp // SECOND, []).append(one)
    return [
        (Millis((second + 1) * SECOND), LogBatch.of(found))
        for second, found in sorted(seconds.items())
    ]
