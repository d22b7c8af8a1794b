"""Who was first, and how sure that is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dos.kit.clock import MINUTE, SECOND
from dos.kit.plugins import load
from dos.model.ids import EntityId
from dos.model.rootcause import EvidenceKind
from dos.rca.base import ROOM
from dos.rca.conclude import TEMPERATURE
from dos.rca.review import Review
from dos.testing.rankers import START, concluded, ranked, story


def chances(case: object, **keys: object) -> dict[str, float]:
    cause = concluded("onset", case, **keys)  # type: ignore[arg-type]
    return {str(one.entity): one.probability for one in cause.ranked}


@pytest.mark.parametrize("seed", range(5))
def test_the_first_of_two_alike_is_blamed(seed: int) -> None:
    wrong = (("payment", "cpu", 4.0, 4), ("orders", "cpu", 4.0, 0), ("frontend", "cpu", 4.0, 6))
    assert ranked("onset", story(*wrong, seed=seed))[0] == "orders"


def test_two_that_begin_within_one_step_share_the_probability() -> None:
    found = chances(story(("payment", "cpu", 4.0, 2), ("orders", "cpu", 4.0, 2)))
    assert found["payment"] == pytest.approx(found["orders"], rel=0.1)
    assert found["payment"] + found["orders"] > 0.9


def test_the_same_lead_means_less_between_coarse_samples() -> None:
    """One step is one step; but clocks that differ by a minute hide 15 s, and not 300 s."""
    wrong = (("payment", "cpu", 4.0, 0), ("orders", "cpu", 4.0, 1))
    fine = chances(story(*wrong), skew=60.0)
    coarse = chances(story(*wrong, step=300 * SECOND), skew=60.0)
    assert fine["payment"] < 1.5 * fine["orders"]
    assert coarse["payment"] > 3 * coarse["orders"]


def test_the_probability_is_that_of_a_simulated_race() -> None:
    """Against drawing onsets of two entities, with logistic errors, each real or not."""
    case = story(("payment", "cpu", 6.0, 0), ("orders", "cpu", 6.0, 1))
    found = chances(case, skew=15.0)
    rng = np.random.default_rng(4)
    error = np.sqrt(15.0**2 / 12 + 15.0**2)
    review = Review.of(case)
    real = {
        name: 1 / (1 + np.exp((0.7 * review.weighed.max() - strength) / TEMPERATURE))
        for name, strength in zip(review.entities, review.abnormality, strict=True)
    }
    begun = np.array([[0.0, 15.0]]) + rng.logistic(0.0, error * np.sqrt(3) / np.pi, (200_000, 2))
    chosen = rng.random((200_000, 2)) < [real[EntityId("payment")], real[EntityId("orders")]]
    begun[~chosen] = np.inf
    wins = (begun[:, 0] < begun[:, 1]).mean(), (begun[:, 1] < begun[:, 0]).mean()
    assert found["payment"] == pytest.approx(wins[0], abs=0.03)
    assert found["orders"] == pytest.approx(wins[1], abs=0.03)


def test_what_drifted_long_before_is_not_the_cause() -> None:
    case = story(("payment", "cpu", 4.0, 0), ("orders", "latency_p95", 6.0, 1))
    values = case.values.copy()
    drifting = next(
        at for at, s in enumerate(case.series) if (s.entity, s.metric) == ("users-db", "cpu")
    )
    values[100:, drifting] *= 2.5  # five minutes before the trouble, and ever since
    assert ranked("onset", replace(case, values=values))[0] == "payment"


def test_evidence_says_when_how_sure_and_how_long_before_whom() -> None:
    case = story(("payment", "cpu", 4.0, 0), ("orders", "latency_p95", 6.0, 4))
    first, second = concluded("onset", case).ranked[:2]
    text = {one.kind: one.text for one in first.evidence}[EvidenceKind.ONSET]
    assert text.startswith("payment became abnormal at 00:29:52 ± 4.4 s (cpu), as the first with ")
    assert text.endswith("; 60 s before orders")
    assert second.evidence[0].text.endswith("; 60 s after payment")
    assert first.evidence[0].start == START


def test_healthy_entities_are_0_and_the_rest_is_unknown() -> None:
    plugin = load(ROOM, "onset")
    scores = plugin.build(plugin.config()).score(story())
    assert scores.score.max() < 0.2
    assert concluded("onset", story()).unknown > 0.5


def test_a_hole_in_the_history_is_no_uncertainty() -> None:
    case = story(("payment", "cpu", 4.0, 0), ("orders", "latency_p95", 6.0, 4))
    times = case.times.copy()
    times[:60] -= 600 * MINUTE
    apart = replace(case, times=times)
    assert chances(apart)["payment"] == pytest.approx(chances(case)["payment"], abs=0.05)
