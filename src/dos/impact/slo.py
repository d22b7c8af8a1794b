"""Error budgets: how fast they burn, what is left of them, and when nothing will be.

The burn rate of a window is the share of bad requests in it over the share that the objective
allows: 1 uses up the budget in just the objective's window. It is too fast where a long window says
that it matters and a short one that it goes on (Beyer et al., *The Site Reliability Workbook*,
chapter 5, "Multiwindow, Multi-Burn-Rate Alerts").

What is known may not reach as far back as a window. The part that is not known then counts as good,
at the rate of requests of the part that is known: burn rate and budget are *at least* what is said.
`Ledger` keeps what is needed beyond the samples at hand, in buckets of five minutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dos.impact.base import BurnRate, Slo
from dos.impact.requests import rounded, spans, usual_share
from dos.impact.signals import Requests, Telemetry, requests_of
from dos.impact.slowness import share_above
from dos.kit.clock import SECOND, Millis
from dos.model.ids import EntityId
from dos.model.impact import Burn, SloKind, SloStatus
from dos.model.telemetry import Float64Array, Int64Array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spent:
    """Good and bad requests over time, as far as they are known. Arrays `[piece]`."""

    ends: Int64Array
    """When each piece of time ended, ms, ascending."""
    seconds: Float64Array
    """How long it was."""
    requests: Float64Array
    bad: Float64Array

    def within(self, start: float, end: float) -> tuple[float, float, float]:
        """Seconds, requests and bad requests of the pieces that ended in `(start, end]`, ms."""
        chosen = (self.ends > start) & (self.ends <= end)
        return (
            float(self.seconds[chosen].sum()),
            float(self.requests[chosen].sum()),
            float(self.bad[chosen].sum()),
        )


def bad_share(slo: Slo, here: Requests) -> Float64Array:
    """`[sample]` share of requests that were not good, 0 to 1; NaN where it is not known."""
    if slo.kind is SloKind.AVAILABILITY:
        return here.failing
    return share_above(here.levels, here.latency, slo.threshold or 0.0)


def spent_of(slo: Slo, here: Requests) -> Spent:
    """Good and bad requests by sample, those left out of which it is not known."""
    share = bad_share(slo, here)
    known = ~np.isnan(share)
    count = here.count[known]
    return Spent(
        ends=here.times[known],
        seconds=here.seconds[known],
        requests=count,
        bad=count * share[known],
    )


def joined(older: Spent | None, newer: Spent) -> Spent:
    """`newer`, and what `older` knows of the time before it."""
    if older is None or len(older.ends) == 0:
        return newer
    if len(newer.ends) == 0:
        return older
    before = older.ends <= newer.ends[0] - newer.seconds[0] * SECOND
    return Spent(
        ends=np.concatenate([older.ends[before], newer.ends]),
        seconds=np.concatenate([older.seconds[before], newer.seconds]),
        requests=np.concatenate([older.requests[before], newer.requests]),
        bad=np.concatenate([older.bad[before], newer.bad]),
    )


def status_of(
    slo: Slo,
    burn_rates: Sequence[BurnRate],
    telemetry: Telemetry | None,
    older: Spent | None = None,
) -> SloStatus:
    """How the error budget of `slo` stands at the end of `telemetry`.

    Args:
        slo: The objective.
        burn_rates: Windows and limits.
        telemetry: The window of samples; None where there is none.
        older: What was spent before these samples, from a ledger.
    """
    entity = EntityId(slo.entity)
    here = requests_of(telemetry, entity) if telemetry is not None else None
    spent = None if here is None else joined(older, spent_of(slo, here))
    if telemetry is None or here is None or spent is None or spent.requests.sum() <= 0:
        return _status(slo, unknown=_why(slo, here))
    allowed = 1.0 - slo.objective
    end = telemetry.end
    burns = tuple(_burn(one, spent, end, allowed) for one in burn_rates)
    burns = tuple(sorted(burns, key=lambda one: (-one.limit, one.long)))
    seconds, requests, bad = spent.within(end - slo.window * SECOND, end)
    if requests <= 0:
        return _status(slo, unknown=f"{entity} has had no request for the objective's window")
    # What is not known of the window counts as good, at the rate of what is known.
    budget = allowed * requests * max(1.0, slo.window / max(seconds, 1e-3))
    burned = bad / budget
    return _status(
        slo,
        burns=burns,
        burned=rounded(burned),
        by_incident=_by_incident(slo, here, telemetry, budget),
        exhausted_in=_left(slo, burned, burns),
    )


def _burn(one: BurnRate, spent: Spent, end: Millis, allowed: float) -> Burn:
    rate, covered = _rate(spent, one.long, end, allowed)
    now, _ = _rate(spent, one.short, end, allowed)
    return Burn(
        long=one.long,
        short=one.short,
        limit=one.rate,
        rate=rate,
        rate_now=now,
        covered=covered,
    )


def _rate(spent: Spent, window: float, end: Millis, allowed: float) -> tuple[float | None, float]:
    """Burn rate over `window` seconds, at least, and the share of the window that is known."""
    seconds, requests, bad = spent.within(end - window * SECOND, end)
    if seconds <= 0:
        return None, 0.0
    covered = min(1.0, seconds / window)
    if requests <= 0:
        return 0.0, rounded(covered)
    return rounded(bad / requests * covered / allowed), rounded(covered)


def _by_incident(slo: Slo, here: Requests, telemetry: Telemetry, budget: float) -> float | None:
    """Share of the budget that bad requests beyond the usual have used up since it began."""
    usual, during = spans(telemetry, here)
    share = bad_share(slo, here)
    known = ~np.isnan(share)
    now, before = during & known, usual & known
    if not now.any():
        return None
    normal = usual_share(here.count[before], share[before], int(now.sum()))
    level = normal.level if normal else 0.0
    count = here.count[now]
    return rounded(max(0.0, float((count * (share[now] - level)).sum())) / budget)


def _left(slo: Slo, burned: float, burns: Sequence[Burn]) -> float | None:
    """Seconds until the budget is used up at the present rate; None if it lasts that way."""
    if burned >= 1.0:
        return 0.0
    now = next((one.rate_now for one in burns if one.rate_now is not None), None)
    if now is None or now <= 0:
        return None
    seconds = (1.0 - burned) * slo.window / now
    return rounded(seconds) if seconds < slo.window else None


def _why(slo: Slo, here: Requests | None) -> str:
    if here is None:
        return f"no series says how many requests {slo.entity} has"
    if slo.kind is SloKind.AVAILABILITY:
        return f"nothing says how many requests of {slo.entity} fail"
    return f"nothing says how slow requests of {slo.entity} are"


def _status(
    slo: Slo,
    *,
    burns: tuple[Burn, ...] = (),
    burned: float | None = None,
    by_incident: float | None = None,
    exhausted_in: float | None = None,
    unknown: str = "",
) -> SloStatus:
    return SloStatus(
        name=slo.title,
        entity=EntityId(slo.entity),
        kind=slo.kind,
        objective=slo.objective,
        window=slo.window,
        threshold=slo.threshold,
        burns=burns,
        burned=burned,
        by_incident=by_incident,
        exhausted_in=exhausted_in,
        unknown=unknown,
    )
