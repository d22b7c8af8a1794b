from __future__ import annotations

import numpy as np
import pytest

from dos.kit.clock import MINUTE, SECOND, Millis
from dos.model.ids import EntityId
from dos.model.telemetry import Float64Array, Role, SeriesSpec
from dos.rca.case import Case
from dos.rca.conclude import probabilities
from dos.rca.evidence import quantity
from dos.rca.measure import column_quantiles, measure


def case_of(
    *columns: Float64Array, start: int, step: int = MINUTE, role: Role = Role.OTHER
) -> Case:
    """One series for each column, of one metric and an entity each."""
    values = np.column_stack(columns)
    return Case(
        times=np.arange(len(values), dtype=np.int64) * step,
        values=values,
        series=tuple(
            SeriesSpec(entity=EntityId(f"e{i}"), metric="m", role=role)
            for i in range(values.shape[1])
        ),
        start=Millis(start * step),
        end=Millis((len(values) - 1) * step),
    )


def noise(count: int, seed: int = 0) -> Float64Array:
    return np.random.default_rng(seed).standard_normal(count)


def test_quantiles_are_numpys() -> None:
    rng = np.random.default_rng(5)
    values = rng.standard_normal((40, 30))
    values[rng.random((40, 30)) < 0.3] = np.nan
    for level in (0.05, 0.5, 0.95):
        (mine,) = column_quantiles(values, level)
        np.testing.assert_allclose(mine, np.nanquantile(values, level, axis=0))


def test_quantile_of_nothing_is_missing() -> None:
    (found,) = column_quantiles(np.full((3, 2), np.nan), 0.5)
    assert np.isnan(found).all()
    (found,) = column_quantiles(np.empty((0, 2)), 0.5)
    assert np.isnan(found).all()


def test_a_shift_is_measured_and_dated() -> None:
    column = 100 + noise(80)
    column[60:] += 50
    found = measure(case_of(column, start=60))
    assert found.onset[0] == 60 * MINUTE
    assert found.samples[0] == 20
    assert found.deviation[0] > 8
    assert found.observed[0] == pytest.approx(150, abs=1)


def test_the_onset_is_found_when_the_start_is_late() -> None:
    column = 100 + noise(80)
    column[57:] -= 60
    found = measure(case_of(column, start=60))
    assert found.onset[0] == 57 * MINUTE
    assert found.deviation[0] < -8


def test_a_stretch_that_is_over_is_still_found() -> None:
    column = 100 + noise(80)
    column[62:66] += 80
    found = measure(case_of(column, start=60))
    assert (found.onset[0], found.samples[0]) == (62 * MINUTE, 4)


def test_what_was_over_before_the_start_is_another_matter() -> None:
    step = 5000
    column = 100 + noise(120)
    column[70:80] += 500  # over 100 s before the start
    both = column.copy()
    both[100:] += 50
    late = 100 + noise(120)
    late[92:97] += 500  # ends 20 s before the start: it may have been what began it
    found = measure(case_of(column, both, late, start=100, step=step))
    assert found.deviation[0] == pytest.approx(0.0, abs=4)
    assert found.onset[1] == 100 * step
    assert found.samples[1] == 20
    assert found.onset[2] == 92 * step
    assert found.deviation[2] > 20


def test_heavy_tails_are_normal_where_they_were_normal_before() -> None:
    column = 100 + noise(200)
    column[::12] += 40
    found = measure(case_of(column, start=180))
    calm = 100 + noise(200, 1)
    calm[180::12] += 40
    assert abs(found.deviation[0]) < 0.5 * abs(measure(case_of(calm, start=180)).deviation[0])


def test_constant_series_stay_normal_and_a_change_of_them_counts() -> None:
    flat, jump = np.full(80, 7.0), np.full(80, 7.0)
    jump[60:] = 14
    found = measure(case_of(flat, jump, start=60))
    assert found.deviation[0] == 0
    assert found.deviation[1] > 10


def test_zero_everywhere_and_then_errors() -> None:
    quiet, failing = np.zeros(80), np.zeros(80)
    failing[60:] = 0.02
    found = measure(case_of(quiet, failing, start=60, role=Role.ERRORS))
    assert found.deviation[0] == 0
    assert found.deviation[1] > 5


def test_availability_is_sensitive_to_small_falls() -> None:
    good, bad = np.full(80, 100.0), np.full(80, 100.0)
    bad[60:] = 96
    found = measure(case_of(good, bad, start=60, role=Role.AVAILABILITY))
    assert found.deviation[1] == pytest.approx(-8)


def test_coarse_steps_and_few_points() -> None:
    column = 100 + noise(8)
    column[4:] += 60
    found = measure(case_of(column, start=4, step=300 * SECOND))
    assert found.onset[0] == 4 * 300 * SECOND
    assert found.deviation[0] > 5


def test_a_short_flat_history_is_doubted_when_peers_are_noisy() -> None:
    flat = np.full(12, 100.0)
    flat[3:] = 130
    peers = [100 + 25 * noise(12, seed) for seed in range(1, 8)]
    alone = measure(case_of(flat, start=3))
    among = measure(case_of(flat, *peers, start=3))
    assert among.deviation[0] < 0.6 * alone.deviation[0]


def test_no_history_no_deviation() -> None:
    column = np.full(20, np.nan)
    column[10:] = 5
    found = measure(case_of(column, start=5))
    assert found.deviation[0] == 0
    assert np.isnan(found.center[0])


def test_windows_keep_the_guard_out_of_the_baseline() -> None:
    baseline, suspect = case_of(noise(80), start=60).windows()
    assert baseline[:, 0].sum() == 55
    assert suspect[:, 0].sum() == 25


def test_windows_shrink_the_guard_when_history_is_short() -> None:
    baseline, suspect = case_of(noise(12), start=4).windows()
    assert baseline[:, 0].tolist() == [True] * 4 + [False] * 8
    assert suspect[:, 0].sum() == 8


def test_a_case_checks_its_shape() -> None:
    with pytest.raises(ValueError, match=r"values must be \[time, series\] = \[2, 0\]"):
        Case(
            times=np.zeros(2, np.int64),
            values=np.empty((1, 0)),
            series=(),
            start=Millis(0),
            end=Millis(0),
        )
    with pytest.raises(ValueError, match="ascending"):
        Case(
            times=np.array([2, 1]),
            values=np.empty((2, 0)),
            series=(),
            start=Millis(0),
            end=Millis(0),
        )


def test_probabilities_grow_with_the_evidence() -> None:
    weak, unsure = probabilities(np.array([0.5, 0.0]))
    strong, sure = probabilities(np.array([6.0, 0.0]))
    assert unsure > 0.9
    assert sure < 0.01
    assert strong[0] > weak[0]
    assert weak[1] == strong[1] == 0


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (0.12, "seconds", "0.12 s"),
        (0.0046, "seconds", "4.6 ms"),
        (0.313, "ratio", "31.3 %"),
        (3 << 29, "bytes", "1.5 GiB"),
        (512, "bytes", "512 B"),
        (12.5, "1/s", "12.5/s"),
        (3.0, "cores", "3 cores"),
        (float("nan"), "seconds", "no data"),
    ],
)
def test_quantities_read_well(value: float, unit: str, said: str) -> None:
    assert quantity(value, unit) == said
