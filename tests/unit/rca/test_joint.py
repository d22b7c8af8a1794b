"""How the network and the statistics are joined."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dos.rca.examples import KINDS, Cause, Example
from dos.rca.inputs import EDGE_INPUTS, GROUPS, NODE_INPUTS, STRONG
from dos.rca.joint import FAR, NEAR, NETWORK, STATISTICS, Joint, Sureness, fit_joint, measured
from dos.rca.verdict import Verdict

KNOWN = [NODE_INPUTS.index(f"{group}_known") for group in GROUPS]
SCORE = NODE_INPUTS.index("score_log")
USUAL = np.array([1.0 if group in {"latency", "failures", "cpu"} else 0.0 for group in GROUPS])
SURE = Sureness(temperature=1.0, share=0.6)
DOUBTFUL = Sureness(temperature=4.0, share=0.9)
JOINT = Joint(usual=USUAL, worth=3.0, familiar=SURE, strange=DOUBTFUL)


def node(shares: np.ndarray, entities: int = 4) -> np.ndarray:
    table = np.zeros((entities, len(NODE_INPUTS)))
    table[:, KNOWN] = shares
    return table


def verdict(shares: np.ndarray, odds: list[float], scores: list[float], right: int = 0) -> Verdict:
    table = node(shares, len(odds))
    table[:, SCORE] = np.log1p(scores) / STRONG
    entity = np.zeros((len(odds), 1 + len(KINDS)))
    entity[:, 0] = odds
    example = Example(
        node=table.astype(np.float16),
        edges=np.zeros((2, 0), np.int64),
        edge=np.zeros((0, len(EDGE_INPUTS)), np.float16),
        causes=(Cause(entities=(right,), kind=None),),
        group=0,
    )
    return Verdict(example=example, entity=entity, none=0.0)


def test_what_is_measured_is_told_of_measured_entities_only() -> None:
    table = node(USUAL)
    table[3, KNOWN] = 0.0
    table[3, NODE_INPUTS.index("no_series")] = 1.0
    np.testing.assert_allclose(measured(table), USUAL)
    assert not measured(table[3:]).any()


def test_a_case_is_the_stranger_the_more_of_it_was_not_learned_from() -> None:
    assert JOINT.strangeness(node(USUAL)) == 0.0
    step = 1 - 2 * USUAL
    step[GROUPS.index("latency")] = 0.0  # what all is compared with
    step *= len(GROUPS) / (len(GROUPS) - 1)
    off = [np.clip(USUAL + part * step, 0, 1) for part in np.linspace(0, 0.9, 19)]
    strangeness = [JOINT.strangeness(node(one)) for one in off]
    assert strangeness == sorted(strangeness)
    assert strangeness[2] == 0.0  # 0.1 on average
    assert strangeness[-1] == 1.0
    between = USUAL + (NEAR + FAR) / 2 * step
    assert JOINT.strangeness(node(between)) == pytest.approx(0.5)


def test_series_that_are_missing_here_and_there_make_no_system_strange() -> None:
    assert JOINT.strangeness(node(0.6 * USUAL)) == 0.0
    assert JOINT.strangeness(node(np.zeros(len(GROUPS)))) == 1.0


def test_familiar_cases_are_the_networks_and_strange_ones_the_statistics() -> None:
    # The network says the first, the statistics say the second.
    odds, scores = [4.0, 0.0, 0.0], [0.0, 6.0, 0.0]
    familiar = JOINT.on(verdict(USUAL, odds, scores))
    assert int(np.argmax(familiar.entity[:, 0])) == 0
    assert familiar.temperature == SURE.temperature
    strange = JOINT.on(verdict(1 - USUAL, odds, scores))
    assert int(np.argmax(strange.entity[:, 0])) == 1
    assert strange.temperature == pytest.approx(DOUBTFUL.temperature)
    # Where the statistics have nothing to say, "none of these" gains.
    silent = JOINT.on(verdict(1 - USUAL, odds, [0.0, 0.0, 0.0]))
    assert silent.entity[0, 0] == pytest.approx(NETWORK * 4.0 - STATISTICS * 3.0, abs=1e-2)
    assert silent.abstains


def test_sureness_lies_between() -> None:
    between = JOINT.sureness(0.5)
    assert between.temperature == pytest.approx(2.0)
    assert between.share == pytest.approx(0.75)
    assert JOINT.sureness(0.0) == SURE


def test_what_is_fitted_survives_the_card() -> None:
    again = Joint.of(JOINT.numbers())
    np.testing.assert_allclose(again.usual, JOINT.usual)
    assert (again.worth, again.familiar, again.strange) == (3.0, SURE, DOUBTFUL)
    with pytest.raises(KeyError):
        Joint.of({"temperature": 1.0})


def test_fitting_learns_what_a_cause_scores() -> None:
    rng = np.random.default_rng(1)
    said = []
    for number in range(120):
        harmless = number % 4 == 0
        scores = rng.uniform(0.0, 1.5, 5)
        if not harmless:
            scores[0] = rng.uniform(2.5, 6.0)
        shares = USUAL if number % 2 else 1 - USUAL
        one = verdict(shares, [0.0] * 5, scores.tolist())
        said.append(replace(one, example=replace(one.example, causes=())) if harmless else one)
    found = fit_joint([node(USUAL)] * 3, said)
    np.testing.assert_allclose(found.usual, USUAL)
    assert 1.5 <= found.worth <= 3.0
    strange = [one for one in said if found.strangeness(one.example.node) == 1.0]
    assert len(strange) == 60
    joined = [found.on(one) for one in strange]
    assert np.mean([one.place == 1 for one in joined if one.known]) == 1.0
    assert np.mean([one.abstains for one in joined if not one.known]) > 0.9
    assert found.strange.temperature < 1.0  # it may be surer than it was
