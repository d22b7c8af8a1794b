"""Speed of the temporal networks on one core: windows and carried points a second, beside torch.

    python benchmarks/nets.py [--json FILE]

Networks in the sizes of the models that come with DOS (and the usual 64) are exported and served by
ONNX Runtime as the product does it (`dos.ml.runtime`, one thread); torch runs the same weights on
one thread. The last lines are the detectors themselves, a tick of many series a call: gathering and
describing the windows, the network, and learning included. Processor time, best of several runs.
Needs torch (the extra `ml`); prints Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import numpy as np
import torch

from dos.detect.columns import Columns
from dos.detect.nets.kinds import CARRIED, WINDOWED, Kind
from dos.detect.realtime import RealTimeAnomalyDetector
from dos.detect.temporal_pace import INPUTS
from dos.detect.temporal_window import FEATURES, WINDOW
from dos.detect.training import SHAPES
from dos.kit.clock import MINUTE
from dos.kit.plugins import load
from dos.ml.card import ModelCard, Training
from dos.ml.export import export
from dos.ml.runtime import Served
from dos.model.ids import EntityId, SeriesId
from dos.model.telemetry import Series, SeriesSpec

WANTED = {"windowed 1": 10_000.0, "windowed 2": 5_000.0, "carried": 250_000.0}
"""Asked for, a second."""
RUNS = 7
ROWS = {"windowed": 512, "carried": 4_096}
SERIES = {"temporal": 2_000, "temporal_fast": 2_000, "temporal_carried": 20_000}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [
        network("windowed", WINDOWED, {"hidden_dim": 32, "num_layers": 1}),
        network("windowed", WINDOWED, {"hidden_dim": 64, "num_layers": 1}),
        network("windowed", WINDOWED, {"hidden_dim": 48, "num_layers": 2}),
        network("windowed", WINDOWED, {"hidden_dim": 64, "num_layers": 2}),
        network("carried", CARRIED, {"hidden_dim": 64}),
    ]
    detectors = [detector(name, SERIES[name]) for name in SHAPES]
    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}\n")
    print("| network | state | layers | ONNX Runtime /s | torch /s | ratio | asked for |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        print(
            f"| {row['kind']} | {row['hidden']} | {row['layers']} | {row['onnx']:,.0f} | "
            f"{row['torch']:,.0f} | {row['onnx'] / row['torch']:.1f} | {row['wanted']:,.0f} |"
        )
    print("\n| detector | series a tick | points/s | bytes a series |")
    print("| --- | --- | --- | --- |")
    for row in detectors:
        print(
            f"| `{row['name']}` | {row['series']:,} | {row['points']:,.0f} | {row['bytes']:,.0f} |"
        )
    print(f"\n`RealTimeAnomalyDetector`, one point a call: {one_by_one():,.0f} points/s")
    if options.json is not None:
        options.json.write_text(json.dumps({"networks": rows, "detectors": detectors}, indent=2))


def network(name: str, kind: Kind, sizes: dict[str, int]) -> dict[str, float | str | int]:
    """A network of some size with fresh weights: windows, or steps, a second."""
    torch.manual_seed(0)
    served_by_torch = kind.served(kind.build(sizes)).eval()
    asked = inputs(name, ROWS[name], sizes["hidden_dim"])
    with tempfile.TemporaryDirectory() as folder:
        export(served_by_torch, Path(folder), card(name, sizes), asked, kind.outputs)
        served = Served(folder)
    tensors = [torch.from_numpy(value) for value in asked.values()]

    def by_torch() -> None:
        with torch.no_grad():
            served_by_torch(*tensors)

    layers = sizes.get("num_layers", 1)
    wanted = WANTED.get(f"{name} {layers}", WANTED.get(name, 0.0))
    return {
        "kind": name,
        "hidden": sizes["hidden_dim"],
        "layers": layers,
        "onnx": ROWS[name] / best(lambda: served.run(asked)),
        "torch": ROWS[name] / best(by_torch),
        "wanted": wanted,
    }


def inputs(name: str, rows: int, hidden: int) -> dict[str, np.ndarray]:
    """Random inputs."""
    rng = np.random.default_rng(1)
    widths = {"window": WINDOW, "memory": FEATURES}
    if name == "carried":
        widths = {"sample": INPUTS, "hidden": hidden, "cell": hidden}
    return {
        one: rng.uniform(-1, 1, (rows, width)).astype(np.float32) for one, width in widths.items()
    }


def detector(name: str, count: int) -> dict[str, float | str | int]:
    """A detector as the engine calls it, all series a tick."""
    windowed = name != "temporal_carried"
    plugin = load("dos.detect.detectors", "temporal" if windowed else name)
    one = plugin.build(plugin.config(model=name))
    columns = Columns(one.layout())
    columns.grow(count)
    row = np.arange(count, dtype=np.int32)
    series = [
        Series(id=SeriesId(i), spec=SeriesSpec(entity=EntityId("s"), metric=f"m{i}"))
        for i in range(count)
    ]
    one.prepare(columns, 0, series)
    values = np.random.default_rng(2).standard_normal((WINDOW + 6, count))
    spent: list[float] = []
    for tick, value in enumerate(values):
        when = np.full(count, tick * MINUTE, np.int64)
        before = time.process_time()
        one.score(columns, row, when, value)
        one.learn(columns, row, when, value, np.ones(count))
        spent.append(time.process_time() - before)
    return {
        "name": name,
        "series": count,
        "points": count / min(spent[WINDOW + 1 :]),
        "bytes": columns.nbytes / count,
    }


def one_by_one() -> float:
    """Points a second of the simple detector."""
    simple = RealTimeAnomalyDetector()
    values = np.random.default_rng(3).standard_normal(300)
    for value in values[:100]:
        simple.process_new_point(value)
    before = time.process_time()
    for value in values[100:]:
        simple.process_new_point(value)
    return 200 / (time.process_time() - before)


def best(run: Callable[[], object]) -> float:
    """Least processor time of several runs, seconds."""
    run()
    spent: list[float] = []
    for _ in range(RUNS):
        before = time.process_time()
        run()
        spent.append(time.process_time() - before)
    return min(spent)


def card(name: str, sizes: dict[str, int]) -> ModelCard:
    """Of a network that is thrown away."""
    training = Training(
        command="benchmarks/nets.py",
        data="none",
        series=0,
        examples=0,
        epochs=0,
        seed=0,
        device="cpu",
        hours=0.0,
        torch=str(torch.__version__),
    )
    return ModelCard(
        name=name,
        version="1",
        about="fresh weights",
        shape=sizes,
        parameters=1,
        training=training,
        figures={},
        limits=[],
        sha256={},
    )


if __name__ == "__main__":
    main()
