"""How the graph network and the statistics are joined: by how familiar a case is to the network.

A network is right where a case is like those it has learned from, and surer than it should be where
it is not. What tells the two apart before anything is concluded is *what is measured*: the network
has learned from systems with a certain set of metrics. The further the metrics of a case are from
those, the more the statistics count, which have learned nothing and cannot be misled by it.

    strangeness 0 ─────────── 1
    network alone             NETWORK x network + STATISTICS x (score - worth)

Nineteen of twenty simulated cases are no further than `NEAR`; a real system that measures a little
more and a little less than the simulator lies beyond `FAR` (ADR 0003). `worth` is the score at
which "none of these" is as probable; it is fitted on simulated cases that training has not seen,
like the temperatures.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dos.model.telemetry import Float64Array
from dos.rca.inputs import GROUPS, NODE_INPUTS
from dos.rca.verdict import Verdict, fit_share, fit_temperature

NETWORK, STATISTICS = 0.25, 2.0
"""What the network's log-odds, and a point of the statistical score, count in a strange case."""
NEAR, FAR = 0.11, 0.20
"""Mean difference of the shares of entities of which each kind of metric is measured, as parts of
the greatest share, from those that are usual in training: up to `NEAR` a case is familiar, from
`FAR` it is strange. (Parts of the greatest: series that are missing here and there make no system
a strange one.)"""
_KNOWN = [NODE_INPUTS.index(f"{group}_known") for group in GROUPS]
_NO_SERIES = NODE_INPUTS.index("no_series")
_WORTHS = np.arange(0.0, 8.01, 0.25)
_TRIED, _ROUGHLY = 200, 25
"""Verdicts that `worth` is sought on, and temperatures; more cost time and change nothing."""
_USUAL = "usual_"


def measured(node: np.ndarray) -> Float64Array:
    """`[GROUPS]` share of the measured entities of which each kind of metric is known.

    Args:
        node: `[entity, NODE_INPUTS]`.
    """
    some = node[node[:, _NO_SERIES] < 0.5][:, _KNOWN].astype(np.float64)
    share: Float64Array = some.mean(axis=0) if len(some) else np.zeros(len(GROUPS))
    return share


def _relative(share: Float64Array) -> Float64Array:
    relative: Float64Array = share / max(float(share.max(initial=0.0)), 1e-9)
    return relative


@dataclass(frozen=True, slots=True, kw_only=True)
class Sureness:
    """What was fitted on verdicts."""

    temperature: float
    share: float
    """That a set of entities has to reach, to hold the cause as often as is promised."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Joint:
    """How to join what the network and the statistics say."""

    usual: Float64Array
    """`[GROUPS]` what is usually `measured` in the cases that were learned from."""
    worth: float
    familiar: Sureness
    strange: Sureness

    def strangeness(self, node: np.ndarray) -> float:
        """0 for a case like those that the network has learned from, 1 for a strange one."""
        away = float(np.abs(_relative(measured(node)) - _relative(self.usual)).mean())
        return float(np.clip((away - NEAR) / (FAR - NEAR), 0.0, 1.0))

    def sureness(self, strangeness: float) -> Sureness:
        """That between the familiar and the strange one."""
        near, far = self.familiar, self.strange
        warmth = np.log([near.temperature, far.temperature]) @ [1 - strangeness, strangeness]
        return Sureness(
            temperature=float(np.exp(warmth)),
            share=near.share * (1 - strangeness) + far.share * strangeness,
        )

    def on(self, verdict: Verdict) -> Verdict:
        """The joint verdict on an example."""
        strangeness = self.strangeness(verdict.example.node)
        joined = _joined(verdict, self.worth, strangeness)
        return joined.at(self.sureness(strangeness).temperature)

    def numbers(self) -> dict[str, float]:
        """For a model's card."""
        return {
            "statistics": STATISTICS,
            "statistics_worth": self.worth,
            "familiar_temperature": self.familiar.temperature,
            "familiar_share": self.familiar.share,
            "strange_temperature": self.strange.temperature,
            "strange_share": self.strange.share,
            **{
                f"{_USUAL}{group}": round(float(share), 4)
                for group, share in zip(GROUPS, self.usual, strict=True)
            },
        }

    @staticmethod
    def of(numbers: Mapping[str, float]) -> Joint:
        """From a model's card.

        Raises:
            KeyError: The card is not of a network that was trained to be joined.
        """
        return Joint(
            usual=np.array([numbers[f"{_USUAL}{group}"] for group in GROUPS], np.float64),
            worth=numbers["statistics_worth"],
            familiar=Sureness(
                temperature=numbers["familiar_temperature"], share=numbers["familiar_share"]
            ),
            strange=Sureness(
                temperature=numbers["strange_temperature"], share=numbers["strange_share"]
            ),
        )


def join(
    network: Float64Array,
    none: float,
    statistics: Float64Array,
    *,
    worth: float,
    strangeness: float,
) -> tuple[Float64Array, float]:
    """Joint log-odds `[entity]`, and those of "none of these".

    Args:
        network: `[entity]` what the network says.
        none: What it says of "none of these".
        statistics: `[entity]` the statistical score.
        worth: The score at which an entity is as suspect as that it is none.
        strangeness: Of the case, 0 to 1.
    """
    trust = 1.0 - (1.0 - NETWORK) * strangeness
    weighed = STATISTICS * strangeness * (statistics - worth)
    return trust * network + weighed, trust * none


def _joined(verdict: Verdict, worth: float, strangeness: float) -> Verdict:
    said = verdict.entity[:, 0], verdict.none, verdict.statistics
    return verdict.saying(*join(*said, worth=worth, strangeness=strangeness))


def fit_joint(learned: Iterable[np.ndarray], said: Sequence[Verdict]) -> Joint:
    """Fit on verdicts of the network alone.

    Args:
        learned: `node` of the cases that it has learned from as they were recorded.
        said: On worlds that it has not seen.
    """
    shares = [measured(node) for node in learned]
    usual = np.mean(shares, axis=0) if shares else np.zeros(len(GROUPS))
    plain = Sureness(temperature=1.0, share=1.0)
    trial = Joint(usual=usual, worth=0.0, familiar=plain, strange=plain)
    strangeness = [trial.strangeness(one.example.node) for one in said]
    near = [one for one, far in zip(said, strangeness, strict=True) if far < 0.5]
    far = [one for one, far in zip(said, strangeness, strict=True) if far >= 0.5]
    worth = _worth(far[:_TRIED])
    return Joint(
        usual=usual,
        worth=worth,
        familiar=_sureness(near),
        strange=_sureness([_joined(one, worth, 1.0) for one in far]),
    )


def _worth(said: Sequence[Verdict]) -> float:
    """The score that "none of these" is worth: with which what is right is most probable."""
    best, least = 0.0, np.inf
    for worth in _WORTHS.tolist():
        joined = [_joined(one, worth, 1.0) for one in said]
        temperature = fit_temperature(joined, _ROUGHLY)
        loss = sum(one.at(temperature).missed for one in joined)
        if loss < least:
            best, least = worth, loss
    return best


def _sureness(said: Sequence[Verdict]) -> Sureness:
    temperature = fit_temperature(said)
    return Sureness(temperature=temperature, share=fit_share([one.at(temperature) for one in said]))
