"""The rule of promotion, case by case."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dos.detect.promotion import LEAST, Figures, judge


def figures(false: int = 2, found: int = 8, known: int = 10, delay: float | None = 30.0) -> Figures:
    return Figures(false=false, found=found, known=known, mean_delay=delay)


@pytest.mark.parametrize(
    ("candidate", "better", "why"),
    [
        (figures(), False, "no difference that matters"),
        (figures(false=1), True, "1 false pages instead of 2"),
        (figures(found=9), True, "finds 9 of 10 instead of 8"),
        (figures(delay=20.0), True, "10.0 s earlier"),
        (figures(delay=29.5), False, "no difference that matters"),
        (figures(delay=90.0, found=9), True, "finds 9 of 10"),
        (figures(false=3, found=10), False, "3 false pages instead of 2"),
        (figures(false=0, found=7), False, "finds 7 of 10 instead of 8"),
    ],
)
def test_the_rule(candidate: Figures, better: bool, why: str) -> None:
    verdict = judge(figures(), candidate)
    assert verdict.better is better
    assert any(why in reason for reason in verdict.reasons)


def test_little_knowledge_promotes_nothing() -> None:
    few = figures(known=LEAST - 1, found=1)
    verdict = judge(few, figures(false=0, known=LEAST - 1, found=4))
    assert not verdict.better
    assert "label some" in verdict.reasons[0]


def test_figures_of_different_pasts_are_not_compared() -> None:
    with pytest.raises(ValueError, match="different pasts"):
        judge(figures(known=10), figures(known=11))


any_figures = st.builds(
    Figures,
    false=st.integers(0, 20),
    found=st.integers(0, 10),
    known=st.just(10),
    mean_delay=st.none() | st.floats(0, 1000),
)


@given(any_figures, any_figures)
def test_of_two_models_at_most_one_is_better(one: Figures, other: Figures) -> None:
    assert not (judge(one, other).better and judge(other, one).better)
    assert judge(one, other).reasons
