"""Where the time goes: own code against children, seconds against seconds."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from dos.kit.plugins import load
from dos.rca.base import ROOM
from dos.rca.case import Case
from dos.testing.rankers import concluded, ranked, story


def shares(case: Case) -> dict[str, float]:
    plugin = load(ROOM, "traces")
    found = plugin.build(plugin.config()).score(case)
    return dict(zip(map(str, found.entities), found.score.tolist(), strict=True))


def test_the_extra_time_is_shared_in_seconds() -> None:
    case = story(("payment", "self_seconds", 31.0, 0), ("orders", "self_seconds", 11.0, 0))
    found = shares(case)
    assert found["payment"] == pytest.approx(0.75, abs=0.02)
    assert found["orders"] == pytest.approx(0.25, abs=0.02)
    assert sum(found.values()) == pytest.approx(1.0)


def test_a_slow_total_is_not_its_own_time() -> None:
    case = story(("payment", "self_seconds", 20.0, 0), ("orders", "latency_p95", 50.0, 0))
    assert ranked("traces", case) == ["payment"]


def test_time_that_was_saved_is_no_trouble() -> None:
    case = story(("payment", "self_seconds", 0.01, 0), ("orders", "self_seconds", 5.0, 0))
    assert ranked("traces", case) == ["orders"]


def test_the_way_between_two_counts_too() -> None:
    case = story(("users-db", "self_seconds", 20.0, 0))
    way = tuple(
        replace(one, metric="trace_network_seconds_p50", labels=())
        if one.labels == (("scope", "self"),)
        else one
        for one in case.series
    )
    found = concluded("traces", replace(case, series=way)).ranked[0]
    assert found.entity == "users-db"
    assert found.evidence[0].text.startswith("the way between it and others takes ")


def test_evidence_compares_with_what_it_depends_on() -> None:
    case = story(("orders", "self_seconds", 31.0, 0), ("payment", "self_seconds", 3.0, 0))
    text = concluded("traces", case).ranked[0].evidence[0].text
    assert text.startswith("its own code takes 0.9")
    assert "94% of all extra time in traces" in text
    assert re.search(r"; what it depends on takes (5\d|6\d)(\.\d)? ms more$", text)


def test_without_traces_it_does_not_know() -> None:
    case = story(("payment", "cpu", 9.0, 0), metrics=["cpu", "latency_p95"])
    assert concluded("traces", case).unknown == 1.0
    assert set(shares(case).values()) == {0.0}
