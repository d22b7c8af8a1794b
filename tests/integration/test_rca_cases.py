"""The public recorded incidents, end to end: every case is read, replayed and ranked.

How well is reported by `dos bench`, not judged here; that ranking beats chance by far is.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pytest

from dos.evaluate.cases import discover
from dos.evaluate.score import RankedCase, score_sets
from dos.kit.clock import ManualClock
from dos.kit.plugins import load
from dos.rca.base import ROOM

RANDOM_AC1 = {
    "sock-shop-1": 0.12,
    "nezha-ob": 0.12,
    "opennetai-container-a": 0.05,
    "petshop-low": 0.04,
}


@pytest.fixture(scope="session")
def cases(shared_data: Path) -> Path:
    folder = shared_data / "rca"
    if not folder.is_dir():
        pytest.skip(f"no recorded cases in {folder}")
    return folder


@pytest.mark.slow
def test_every_case_is_ranked_with_evidence_and_far_better_than_by_chance(cases: Path) -> None:
    plugin = load(ROOM, "statistical")
    ranked: list[RankedCase] = []
    report = score_sets([cases], plugin.build(plugin.config()), progress=ranked.append)
    print(report.markdown())
    assert len(ranked) == 2 * len(discover(cases))
    for one in ranked:
        assert one.place is not None, one.path
        assert sum(h.probability for h in one.cause.ranked) + one.cause.unknown == pytest.approx(1)
        assert all(h.evidence for h in one.cause.ranked), one.path
    for score in report.sets:
        assert score.ac1.low > RANDOM_AC1.get(score.name, 0.0), score


def test_one_case_of_each_set_is_replayed_in_order_of_time(cases: Path) -> None:
    plugin = load("dos.ingest.sources", "file")
    for folder in sorted(path for path in cases.iterdir() if path.is_dir()):
        config = plugin.config(path=folder / "case-001")
        file = plugin.build(config, name=folder.name, clock=ManualClock(), rng=Random(0))
        found = list(file.deliveries())
        times = [at for at, _ in found]
        assert times == sorted(times)
        frames = [one.frame for _, one in found if one.frame is not None]
        assert sum(len(frame) for frame in frames) > 500
        assert all(np.isfinite(frame.value).all() for frame in frames)
