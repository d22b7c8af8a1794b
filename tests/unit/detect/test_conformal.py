"""Conformal p-values are valid, follow a drift, and levels correct themselves."""

from __future__ import annotations

import numpy as np
import pytest

from dos.detect.columns import Columns
from dos.detect.conformal import (
    BINS,
    LAYOUT,
    Table,
    adapt_rows,
    bin_of,
    kept_of,
    p_rows,
    table_of,
    take_rows,
)
from dos.model.telemetry import Float64Array

SERIES = 50
ROW = np.arange(SERIES, dtype=np.int32)
ALL = np.ones(SERIES, np.bool_)


def fresh(series: int = SERIES) -> Table:
    columns = Columns(LAYOUT)
    columns.grow(series)
    return table_of(columns)


def walk(lines: Float64Array, kept: float, table: Table) -> Float64Array:
    """P-value of each deviation, which is then learned; `[time, series]`."""
    out = np.empty_like(lines)
    for at, line in enumerate(lines):
        out[at] = p_rows(table, ROW, line)
        take_rows(table, ROW, line, ALL, kept)
    return out


@pytest.mark.parametrize("kind", ["normal", "cauchy", "constant"])
def test_a_small_p_value_is_as_rare_as_it_says(kind: str) -> None:
    rng = np.random.default_rng(3)
    shape = (2_000, SERIES)
    lines = {
        "normal": lambda: np.abs(rng.standard_normal(shape)),
        "cauchy": lambda: np.abs(rng.standard_cauchy(shape)),
        "constant": lambda: np.full(shape, 2.0),
    }[kind]()
    p = walk(lines, 1.0, fresh())[200:]
    for level in (0.2, 0.05, 0.01):
        assert (p <= level).mean() <= level * 1.15, level


def test_what_is_far_out_has_the_smallest_p_value_there_is() -> None:
    table = fresh()
    walk(np.abs(np.random.default_rng(1).standard_normal((999, SERIES))), 1.0, table)
    assert p_rows(table, ROW, np.full(SERIES, 30.0)).max() == pytest.approx(1e-3)


def test_old_deviations_weigh_less() -> None:
    rng = np.random.default_rng(4)
    calm, wild = (np.abs(rng.standard_normal((600, SERIES))) * s for s in (1.0, 4.0))
    forgetful, lasting = fresh(), fresh()
    for table, kept in ((forgetful, kept_of(100)), (lasting, 1.0)):
        walk(calm, kept, table)
        walk(wild, kept, table)
    level = np.full(SERIES, 6.0)
    assert p_rows(forgetful, ROW, level).mean() > 1.5 * p_rows(lasting, ROW, level).mean()


def test_levels_correct_themselves_until_alarms_are_as_frequent_as_wanted() -> None:
    rng = np.random.default_rng(5)
    table, wanted, alarms = fresh(), 0.05, []
    for _ in range(4_000):
        p = rng.uniform(size=SERIES) ** 2  # far too many small ones
        alarms.append(adapt_rows(table, ROW, p, wanted, 0.005))
    share = np.array(alarms)
    assert share[:20].mean() > 3 * wanted, "wrong at first"
    assert share[2_000:].mean() == pytest.approx(wanted, rel=0.1)


def test_bins_are_in_order_and_take_anything() -> None:
    far = [0.0, 5e-324, 0.2, 0.25, 0.3, 1.0, 6.0, 44.0, 1e3, 1e300]
    places = [bin_of(one) for one in far]
    assert places == sorted(places)
    assert places[0] == 0
    assert places[-1] == BINS - 1


def test_what_is_no_number_is_neither_judged_nor_learned() -> None:
    table = fresh(3)
    row, odd = np.arange(3, dtype=np.int32), np.array([np.nan, np.inf, -np.inf])
    take_rows(table, row, odd, np.ones(3, np.bool_), 1.0)
    assert not table.weight.any()
    assert p_rows(table, row, odd).tolist() == [1.0, 1.0, 1.0]
