"""What is known of the impact, as sentences with numbers and as measures for the rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dos.impact.base import ImpactConfig, Measure
from dos.impact.radius import LIKELY
from dos.impact.requests import Totals
from dos.impact.severity import NAMES_SHOWN, Found
from dos.kit.duration import format_duration
from dos.model.impact import Affected, EntryImpact, Estimate, SloStatus

_WORTH_SAYING = 0.5
"""Requests, users or money below which nothing is said."""
_LONG, _DAY = 7_200.0, 86_400.0


def measures_of(
    score: float,
    entries: Sequence[EntryImpact],
    totals: Totals,
    slos: Sequence[SloStatus],
    config: ImpactConfig,
) -> Mapping[Measure, Found]:
    """What the rules of severity look at, as far as it is known."""
    found = {Measure.SCORE: Found(amount=score, says=f"{score:.0%} of the business weight is hit")}
    failing = [(one.failing, one.entity) for one in entries if one.failing is not None]
    slowing = [(one.slowing, one.entity) for one in entries if one.slowing is not None]
    shares = ((Measure.FAILED_SHARE, failing, "fail"), (Measure.SLOWED_SHARE, slowing, "are slow"))
    for measure, known, verb in shares:
        if known:
            worst, entity = max(known, key=lambda pair: (pair[0].low, pair[1]))
            says = f"At least {worst.low:.1%} of the requests at {entity} {verb} because of it"
            found[measure] = Found(amount=worst.low, says=says)
    sums = (
        (Measure.FAILED_REQUESTS, totals.failed, "requests failed because of it"),
        (Measure.SLOWED_REQUESTS, totals.slowed, "requests were slow because of it"),
        (Measure.USERS, totals.users, "users were hit"),
        (Measure.REVENUE, totals.revenue, f"{config.currency or 'of money'} was lost"),
    )
    for measure, estimate, what in sums:
        if estimate is not None:
            says = f"At least {_whole(estimate.low)} {what}"
            found[measure] = Found(amount=estimate.low, says=says)
    known_slos = [one for one in slos if not one.unknown]
    if known_slos:
        fast = max(known_slos, key=lambda one: (one.limit, one.name))
        says = f"{fast.name} burns its error budget at {fast.limit:g} times the pace or more"
        found[Measure.BURN_RATE] = Found(amount=fast.limit, says=says)
        empty = max(known_slos, key=lambda one: (one.burned or 0.0, one.name))
        says = f"At least {empty.burned or 0.0:.0%} of the error budget of {empty.name} is used up"
        found[Measure.BUDGET_BURNED] = Found(amount=empty.burned or 0.0, says=says)
    return found


def requests_said(
    entries: Sequence[EntryImpact], totals: Totals, config: ImpactConfig
) -> tuple[str, ...]:
    """What users met, in one sentence or none."""
    if not entries or (totals.failed is None and totals.slowed is None):
        return ()
    parts = [
        f"{_interval(estimate)} {what}"
        for estimate, what in ((totals.failed, "failed"), (totals.slowed, "were slow"))
        if estimate is not None and estimate.low >= _WORTH_SAYING
    ]
    asked = _whole(sum(one.requests or 0.0 for one in entries if one.counted))
    if not parts:
        return (f"Of {asked} requests of users since then no more {_met(totals)} than usual.",)
    said = f"Of {asked} requests of users since then {' and '.join(parts)} because of it"
    if totals.users is not None and totals.users.low >= _WORTH_SAYING:
        said += f"; that is {_interval(totals.users)} users"
    if totals.revenue is not None and totals.revenue.low >= _WORTH_SAYING:
        money = f"{config.currency} ".lstrip()
        said += f"; {money}{_interval(totals.revenue)} lost"
    return (f"{said}.",)


def slos_said(slos: Sequence[SloStatus]) -> tuple[str, ...]:
    """How the error budgets stand that burn, one sentence each."""
    return tuple(_slo_said(one) for one in slos if one.limit > 0 or (one.burned or 0.0) >= 1.0)


def forecast_of(affected: Sequence[Affected], predicted: float) -> tuple[str, ...]:
    """Who is expected to follow if nothing is done, in one sentence or none."""
    likely = [one for one in affected if one.risk is not None and one.risk >= LIKELY]
    if not likely:
        return ()
    likely.sort(key=lambda one: (-(one.risk or 0.0), one.entity))
    names = ", ".join(f"{one.entity} ({one.risk:.0%})" for one in likely[:NAMES_SHOWN])
    more = len(likely) - NAMES_SHOWN
    names += f" and {more} more" if more > 0 else ""
    follows = "follows" if len(likely) == 1 else "follow"
    said = f"If nothing is done, {names} probably {follows}: {predicted:.0%} of the business weight"
    return (f"{said} is then to be expected to be abnormal.",)


def _slo_said(one: SloStatus) -> str:
    said = f"{one.name}:"
    burn = next((burn for burn in one.burns if burn.is_burning), None)
    if burn is not None and burn.rate is not None:
        least = "at least " if burn.covered < 1.0 else ""
        said += (
            f" the error budget burns {least}{burn.rate:.3g} times as fast as it may over "
            f"{_lasting(burn.long)} (limit {burn.limit:g})"
        )
    if one.burned is not None:
        said += ";" if burn else ""
        said += f" {one.burned:.1%} of it for {_lasting(one.window)} is used up"
    if one.by_incident is not None:
        said += f", {one.by_incident:.1%} by this incident"
    if one.exhausted_in:
        said += f"; at this rate nothing is left in {_lasting(one.exhausted_in)}"
    return f"{said}."


def _met(totals: Totals) -> str:
    """What is known of, in words."""
    if totals.slowed is None:
        return "failed"
    return "were slow" if totals.failed is None else "failed or were slow"


def _lasting(seconds: float) -> str:
    """A duration to two places or so: nobody needs the seconds of a day."""
    if seconds >= 2 * _DAY:
        return f"{seconds / _DAY:.3g} days"
    if seconds >= _LONG:
        return f"{seconds / 3600:.3g} h"
    return format_duration(round(seconds))


def _interval(one: Estimate) -> str:
    return f"{_whole(one.value)} ({_whole(one.low)} to {_whole(one.high)})"


def _whole(number: float) -> str:
    return f"{number:,.0f}"
