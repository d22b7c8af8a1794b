"""When a candidate may take the place of what decides now: the rule, on figures alone.

Both run over the same past, in which it is known what really was wrong: what people confirmed or
said was missed, and faults that were put into the samples. A candidate is promoted when it

1. tells people about nothing no more often (a page about nothing known to be wrong counts, also
   when nobody labelled it: it counts for both sides alike),
2. finds at least as many of the things that were wrong, and
3. is better in one of these, or as good in both and earlier by `EARLIER` seconds on average;

and when enough is known to say so: `LEAST` things that were wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

LEAST = 5
"""Things known to have been wrong that a comparison needs."""
EARLIER = 1.0
"""Seconds; less is noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """How one model did."""

    false: int
    """Pages about nothing that is known to have been wrong."""
    found: int
    known: int
    """Things that were wrong."""
    mean_delay: float | None
    """Seconds until the first page about what was found; None when nothing was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether to promote, and why."""

    better: bool
    reasons: tuple[str, ...]


def judge(live: Figures, candidate: Figures) -> Verdict:
    """Compare a candidate with what decides now, by the rule of the module.

    Raises:
        ValueError: They did not run over the same past.
    """
    if live.known != candidate.known:
        msg = f"figures of different pasts: {live.known} and {candidate.known} things were wrong"
        raise ValueError(msg)
    against = _against(live, candidate)
    if against:
        return Verdict(better=False, reasons=tuple(against))
    reasons = _for(live, candidate)
    if reasons:
        return Verdict(better=True, reasons=tuple(reasons))
    return Verdict(better=False, reasons=("no difference that matters",))


def _against(live: Figures, candidate: Figures) -> list[str]:
    """What forbids it."""
    reasons = []
    if live.known < LEAST:
        reasons.append(
            f"only {live.known} things are known to have been wrong, {LEAST} are needed: label"
            " some, or look further back"
        )
    if candidate.false > live.false:
        reasons.append(f"{candidate.false} false pages instead of {live.false}")
    if candidate.found < live.found:
        reasons.append(f"finds {candidate.found} of {live.known} instead of {live.found}")
    return reasons


def _for(live: Figures, candidate: Figures) -> list[str]:
    """What speaks for one against which nothing does."""
    reasons = []
    if candidate.false < live.false:
        reasons.append(f"{candidate.false} false pages instead of {live.false}")
    if candidate.found > live.found:
        reasons.append(f"finds {candidate.found} of {live.known} instead of {live.found}")
    if not reasons and live.mean_delay is not None and candidate.mean_delay is not None:
        gained = live.mean_delay - candidate.mean_delay
        if gained >= EARLIER:
            reasons.append(f"finds what it finds {gained:.1f} s earlier")
    return reasons
