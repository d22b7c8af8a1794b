"""Series on which VUS and the window rule are compared with the reference implementations.

They come from a generator of their own, so that every version of NumPy makes the same ones. Run as
a script, with the reference packages installed, this prints their figures:

    python -m venv /tmp/vus
    /tmp/vus/bin/pip install "numpy<2" scipy pandas scikit-learn statsmodels matplotlib tqdm
    /tmp/vus/bin/pip install --no-deps vus==0.0.6 tsb-ad==1.5
    /tmp/vus/bin/python tests/unit/evaluate/vus_cases.py > tests/unit/evaluate/vus_reference.json
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

REFERENCE = Path(__file__).with_name("vus_reference.json")

Array = npt.NDArray[np.float64]


def uniform(seed: int, count: int) -> Array:
    """Numbers from 0 to 1 by a linear congruential generator (Knuth's MMIX)."""
    state, drawn = seed * 2_862_933_555_777_941_757 + 3_037_000_493, []
    for _ in range(count):
        state = (state * 6_364_136_223_846_793_005 + 1_442_695_040_888_963_407) % 2**64
        drawn.append((state >> 11) / 2**53)
    return np.array(drawn)


def labels(count: int, *stretches: tuple[int, int]) -> npt.NDArray[np.bool_]:
    marked = np.zeros(count, np.bool_)
    for first, last in stretches:
        marked[first : last + 1] = True
    return marked


def scored() -> Iterator[tuple[str, npt.NDArray[np.bool_], Array, int]]:
    """Name, labels, score and window of each case."""
    marked = labels(2_000, (300, 340), (900, 1_000), (1_700, 1_702))
    noise = uniform(1, 2_000)
    yield "noise", marked, noise, 60
    yield "good", marked, noise + marked * (0.2 + 0.8 * uniform(2, 2_000)), 60
    yield "perfect", marked, marked * 1.0, 60
    yield "late", marked, np.roll(marked * 1.0, 20) + 0.1 * noise, 60
    yield "five levels", marked, np.floor(5 * noise) + 2 * marked, 31
    yield "constant", marked, np.ones(2_000), 20
    yield "no window", marked, noise + 0.3 * marked, 0
    yield "window of one", marked, noise + 0.3 * marked, 1
    edges = labels(800, (0, 15), (780, 799))
    yield "at the edges", edges, uniform(3, 800) + 0.5 * edges, 100
    close = labels(1_500, *((100 + 9 * k, 100 + 9 * k + k % 4) for k in range(60)))
    yield "close together", close, uniform(4, 1_500) + 0.4 * close, 40
    single = labels(1_000, *((place, place) for place in (50, 71, 500, 502, 990)))
    yield "single points", single, uniform(5, 1_000) + 0.6 * np.roll(single, 1), 25
    short = labels(120, (40, 60))
    yield "fewer points than thresholds", short, uniform(6, 120) + 0.5 * short, 30
    yield "wide window", labels(400, (150, 160), (300, 310)), uniform(7, 400), 300
    yield "mostly anomalous", labels(600, (50, 550)), uniform(8, 600), 50


def periodic() -> Iterator[tuple[str, Array]]:
    """Name and values of each case."""
    time = np.arange(6_000.0)
    noise = uniform(9, 6_000) - 0.5
    yield "sine of 50", np.sin(2 * np.pi * time / 50) + noise
    yield "daily at five minutes", np.cos(2 * np.pi * time / 288) + 0.5 * noise
    yield (
        "two periods",
        np.sin(2 * np.pi * time / 24) + 0.8 * np.sin(2 * np.pi * time / 168) + noise,
    )
    yield "longer than the lags", np.sin(2 * np.pi * time / 1_440) + noise
    yield "out of bounds", np.sin(2 * np.pi * time / 350) + 0.01 * noise
    yield "of four", np.tile([0.0, 1.0, 0.0, -1.0], 500)
    yield "noise", noise
    yield "walk", np.cumsum(noise)
    yield "switching", (time % 90 < 30) * 1.0
    yield "constant", np.full(500, 3.0)
    yield "short", np.sin(2 * np.pi * time[:60] / 7)
    yield "far from zero", 1e9 + np.sin(2 * np.pi * time / 33) + noise
    yield "longer than is looked at", np.sin(2 * np.pi * np.arange(30_000) / 75)


def reference() -> dict[str, object]:
    """What the reference packages say."""
    from sklearn.metrics import average_precision_score  # type: ignore[import-not-found]
    from TSB_AD.evaluation.basic_metrics import generate_curve  # type: ignore[import-not-found]
    from TSB_AD.utils.slidingWindows import find_length_rank  # type: ignore[import-not-found]
    from vus.utils.metrics import metricor  # type: ignore[import-not-found]

    figures = {}
    for name, marked, score, window in scored():
        *_, roc, pr = generate_curve(marked.astype(int), score, window, "opt", 250)
        *_, old_roc, old_pr = metricor().RangeAUC_volume_opt(marked.astype(int), score, window)
        figures[name] = {
            "tsb-ad": [float(roc), float(pr)],
            "vus": [float(old_roc), float(old_pr)],
            "average precision": float(average_precision_score(marked, score)),
        }
    periods = {name: int(find_length_rank(values[:, None])) for name, values in periodic()}
    return {"areas": figures, "periods": periods}


if __name__ == "__main__":
    print(json.dumps(reference(), indent=1))
