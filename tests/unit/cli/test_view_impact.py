"""The impact in the terminal view: requests, who follows, budgets that burn."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.cells import cell_len

from dos.model.ids import EntityId
from dos.model.impact import Affected, Burn, Estimate, SloKind, SloStatus, Standing
from tests.unit.cli.test_view import CONTROL, draw
from tests.unit.cli.view_states import BUSY, IMPACT, OPEN


def affected(name: str, standing: Standing, risk: float | None = None) -> Affected:
    return Affected(
        entity=EntityId(name),
        abnormal=standing is Standing.ABNORMAL,
        distance=1,
        weight=1.0,
        standing=standing,
        risk=risk,
    )


def burning(name: str, *, exhausted_in: float | None = 5400.0) -> SloStatus:
    burn = Burn(long=3600.0, short=300.0, limit=14.4, rate=20.0, rate_now=30.0, covered=1.0)
    return SloStatus(
        name=name,
        entity=EntityId("frontend"),
        kind=SloKind.AVAILABILITY,
        objective=0.999,
        window=2_592_000.0,
        burns=(burn,),
        burned=0.315,
        exhausted_in=exhausted_in,
    )


FULL = replace(
    IMPACT,
    affected=(
        affected("payment-service", Standing.ABNORMAL),
        affected("cart", Standing.AT_RISK, 0.62),
        affected("search", Standing.AT_RISK, 0.05),
        affected("stock", Standing.ASKED_LESS),
    ),
    failed=Estimate(value=12_345.0, low=12_000.0, high=12_700.0),
    slowed=Estimate(value=80.0, low=60.0, high=110.0),
    slos=(burning("checkout works"),),
)


def drawn(width: int = 120, **changed: object) -> list[str]:
    impact = replace(FULL, **changed)  # type: ignore[arg-type]
    incidents = tuple(
        replace(one, impact=impact) if one.id == OPEN.id else one for one in BUSY.incidents
    )
    return draw(replace(BUSY, incidents=incidents), width, 60)


@pytest.mark.parametrize(
    "line",
    [
        "impact: 1 abnormal, 2 at risk, 1 asked for less, 42% of the business weight",
        "requests because of it: 12,345 (12,000 to 12,700) failed, 80 (60 to 110) were slow",
        "may follow if nothing is done: cart 62%",
        "checkout works: error budget burns, 32% used, nothing left in 1 h 30 min",
    ],
)
def test_what_is_known_is_shown(line: str) -> None:
    assert any(line in one for one in drawn()), "\n".join(drawn())


def test_what_is_not_known_or_does_not_burn_is_left_out() -> None:
    quiet = replace(burning("calm"), burns=())
    text = "\n".join(drawn(failed=None, slowed=None, slos=(quiet,), affected=FULL.affected[:1]))
    for word in ("requests because", "may follow", "error budget"):
        assert word not in text
    endless = "\n".join(drawn(slos=(burning("long", exhausted_in=None),)))
    assert "long: error budget burns, 32% used" in endless
    assert "nothing left" not in endless


@pytest.mark.parametrize("width", [40, 80, 120])
def test_no_name_breaks_the_screen(width: int) -> None:
    wild = "a\x1b[31m\n[red]" + "ü" * 200
    lines = drawn(width, slos=(burning(wild),), affected=(affected(wild, Standing.AT_RISK, 0.9),))
    assert max(map(cell_len, lines)) <= width
    assert not any(CONTROL.search(line) for line in lines)
