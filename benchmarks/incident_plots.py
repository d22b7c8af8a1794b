"""One small plot for each kind of fault: who breaks, who suffers, who does not notice.

    python benchmarks/incident_plots.py [FOLDER] [--severity 0.7]

Writes `FOLDER/<kind>.svg` (docs/images/incidents by default) of the built-in shop at a 10 s step.
The pictures are the same bytes on every run.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from dos.kit.clock import Millis
from dos.model.ids import EntityId
from dos.model.telemetry import Float64Array
from dos.simulate.engine import Simulation
from dos.simulate.faults import Fault, FaultType
from dos.simulate.kinds import KINDS
from dos.simulate.world import SimulatedService, World
from dos.simulate.worlds import shop

MONDAY_AFTERNOON = Millis(1_795_443_600_000)
STEP, BEFORE, AFTER = 10.0, 180.0, 360.0
SEED = 3
WIDTH, HEIGHT, LEFT, TOP = 340, 92, 46, 56
"""Of one panel in pixels, with the room left of it and above all."""
COLOURS = ("#c0392b", "#d68910", "#2e6da4", "#7d8a8a")
"""Of the target, who suffers, who else suffers, and who does not notice."""
FIRST = ("request_rate", "latency_p95", "error_rate", "cpu_usage")


@dataclass(frozen=True, slots=True)
class Picture:
    """What to show of one kind."""

    target: str
    services: tuple[str, ...]
    """Two or three who suffer, and one who does not notice."""
    special: tuple[str, ...] = ()
    """Metrics shown besides the usual four."""
    duration: float = 180.0


ONE = ("payment-service", "checkout-service", "catalog-service")
DEPLOYED = ("catalog-service", "frontend", "payment-service")
STORE = ("shop-db", "checkout-service", "catalog-service")
PICTURES: dict[FaultType, Picture] = {
    FaultType.CPU_SPIKE: Picture(ONE[0], ONE),
    FaultType.MEMORY_LEAK: Picture(
        "cart-service",
        ("cart-service", "checkout-service", "catalog-service"),
        ("memory_usage", "restarts"),
        360.0,
    ),
    FaultType.NETWORK_LATENCY: Picture(ONE[0], ONE, ("connections",)),
    FaultType.PACKET_LOSS: Picture(DEPLOYED[0], DEPLOYED, ("retransmits", "latency_p50")),
    FaultType.ERROR_RATE: Picture(ONE[0], ONE),
    FaultType.CASCADING_FAILURE: Picture(
        STORE[0],
        ("shop-db", "user-service", "checkout-service", "catalog-service"),
        ("queue_depth",),
    ),
    FaultType.DEPLOY_REGRESSION: Picture(DEPLOYED[0], DEPLOYED, (), 300.0),
    FaultType.CONFIG_CHANGE: Picture(ONE[0], ONE, ("queue_depth",), 240.0),
    FaultType.FEATURE_FLAG: Picture(
        "catalog-service",
        ("catalog-service", "catalog-db", "frontend", "payment-service"),
        (),
        240.0,
    ),
    FaultType.CERTIFICATE_EXPIRY: Picture(ONE[0], ONE),
    FaultType.DNS_FAILURE: Picture("user-service", ("user-service", "frontend", "payment-service")),
    FaultType.DISK_FULL: Picture(STORE[0], STORE, ("disk_usage",), 360.0),
    FaultType.NOISY_NEIGHBOUR: Picture(
        "shop-node-a1", ("shop-node-a1", "catalog-db", "frontend", "user-service")
    ),
    FaultType.LOCK_CONTENTION: Picture(STORE[0], STORE, ("queue_depth", "connections")),
    FaultType.CACHE_STAMPEDE: Picture(
        "redis-cache",
        ("redis-cache", "catalog-db", "frontend", "payment-service"),
        ("hit_ratio",),
    ),
    FaultType.RETRY_STORM: Picture(
        STORE[0],
        ("shop-db", "user-service", "checkout-service", "catalog-service"),
        ("queue_depth",),
    ),
    FaultType.DEPENDENCY_OUTAGE: Picture(ONE[0], ONE),
    FaultType.ZONE_OUTAGE: Picture(
        "zone-a", ("shop-node-a1", "catalog-db", "frontend", "payment-service"), ("ready",), 300.0
    ),
    FaultType.TRAFFIC_SURGE: Picture(
        "api-gateway",
        ("api-gateway", "frontend", "catalog-service", "back-office"),
        ("queue_depth",),
    ),
    FaultType.CLOCK_SKEW: Picture(
        "shop-node-c1",
        ("shop-node-c1", "checkout-service", "frontend", "notification-service"),
        ("clock_offset",),
    ),
    FaultType.METRIC_CORRUPTION: Picture(ONE[0], ONE, ("latency_p50", "connections")),
    FaultType.HARMLESS_DEPLOY: Picture(DEPLOYED[0], DEPLOYED, (), 120.0),
    FaultType.PLANNED_SURGE: Picture(
        "api-gateway",
        ("api-gateway", "frontend", "catalog-service", "back-office"),
        (),
        600.0,
    ),
    FaultType.BATCH_JOB: Picture(STORE[0], STORE, (), 300.0),
}


def main() -> None:
    """Draw every kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    home = Path(__file__).resolve().parents[1]
    parser.add_argument("folder", nargs="?", type=Path, default=home / "docs/images/incidents")
    parser.add_argument("--severity", type=float, default=0.7)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for kind, picture in PICTURES.items():
        drawn = draw(kind, picture, options.severity)
        (options.folder / f"{kind}.svg").write_text(drawn, encoding="utf-8")
        print(f"{kind}.svg: {len(drawn) / 1024:.1f} KiB")


def draw(kind: FaultType, picture: Picture, severity: float) -> str:
    """The plot of `kind` as SVG."""
    about = KINDS[kind]
    simulation = Simulation(_world(), seed=SEED, step_seconds=STEP, start=MONDAY_AFTERNOON)
    values = [simulation.tick().value for _ in range(round(BEFORE / STEP))]
    simulation.inject(
        Fault(
            type=kind,
            target=EntityId(picture.target),
            severity=severity,
            duration=picture.duration,
            ramp=about.ramp,
            recovery=about.recovery,
        )
    )
    rest = picture.duration + about.recovery + AFTER
    values += [simulation.tick().value for _ in range(round(rest / STEP))]
    column = {(spec.entity, spec.metric): at for at, spec in enumerate(simulation.series)}
    table = np.array(values)

    def series(metric: str) -> list[tuple[int, Float64Array]]:
        """Colour and values of each line."""
        last = len(picture.services) - 1
        places = [
            (len(COLOURS) - 1 if number == last else number, column.get((EntityId(name), metric)))
            for number, name in enumerate(picture.services)
        ]
        return [(colour, table[:, place]) for colour, place in places if place is not None]

    panels = [(metric, series(metric)) for metric in (*FIRST, *picture.special)]
    title = f"{kind.label} of {picture.target}, severity {severity:g}, {picture.duration:g} s"
    window = (BEFORE, BEFORE + picture.duration, BEFORE + picture.duration + about.recovery)
    return _page(title, picture.services, panels, window, len(table))


def _world() -> World:
    """The shop, and a service beside it that shares nothing with it but the machines."""
    there = shop()
    other = SimulatedService(name="back-office", cpu=0.3)
    return World(
        name=there.name,
        services=(*there.services, other),
        calls=there.calls,
        entries={**there.entries, other.id: 25.0},
    )


def _page(
    title: str,
    services: Sequence[str],
    panels: Sequence[tuple[str, list[tuple[int, Float64Array]]]],
    window: tuple[float, float, float],
    ticks: int,
) -> str:
    rows = math.ceil(len(panels) / 2)
    width, height = 2 * (WIDTH + LEFT) + 12, TOP + rows * (HEIGHT + 34)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"',
        f'width="{width}" font-family="sans-serif" font-size="10" fill="#333">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="8" y="17" font-size="13" font-weight="bold">{escape(title)}</text>',
        *_legend(services),
    ]
    for number, (metric, lines) in enumerate(panels):
        x = LEFT + (number % 2) * (WIDTH + LEFT)
        y = TOP + (number // 2) * (HEIGHT + 34)
        parts.append(f'<g transform="translate({x} {y})">')
        parts += _panel(metric, lines, window, ticks)
        parts.append("</g>")
    return "\n".join([*parts, "</svg>", ""])


def _legend(services: Sequence[str]) -> Iterator[str]:
    x, last = 8, len(services) - 1
    for number, name in enumerate(services):
        colour = COLOURS[-1] if number == last else COLOURS[number]
        shown = f"{name} (does not notice)" if number == last else name
        yield f'<text x="{x}" y="33" fill="{colour}" font-weight="bold">{escape(shown)}</text>'
        x += 14 + 6 * len(shown)


def _panel(
    metric: str,
    lines: list[tuple[int, Float64Array]],
    window: tuple[float, float, float],
    ticks: int,
) -> Iterator[str]:
    scale = _scale(metric, lines)
    begin, end, gone = (min(1.0, at / STEP / (ticks - 1)) * WIDTH for at in window)
    yield f'<rect x="{begin:.0f}" width="{end - begin:.0f}" height="{HEIGHT}" fill="#fbe9e7"/>'
    yield f'<rect x="{end:.0f}" width="{gone - end:.0f}" height="{HEIGHT}" fill="#fdf6ec"/>'
    yield f'<path d="M0 0V{HEIGHT}H{WIDTH}" fill="none" stroke="#999"/>'
    yield f'<text x="0" y="-4" font-weight="bold">{escape(scale.label)}</text>'
    for value in scale.ticks:
        y = scale.y(value)
        yield f'<text x="-4" y="{y + 3:.0f}" text-anchor="end">{escape(scale.name(value))}</text>'
        yield f'<path d="M0 {y:.0f}H{WIDTH}" stroke="#eee"/>'
    for minute in range(0, math.ceil(ticks * STEP / 60), 3):
        x = minute * 60 / STEP / (ticks - 1) * WIDTH
        yield f'<text x="{x:.0f}" y="{HEIGHT + 11}" text-anchor="middle">{minute} min</text>'
    for colour, values in reversed(lines):
        shown = values / values[: round(BEFORE / STEP)].mean() if scale.relative else values
        yield _line(shown, scale, COLOURS[colour])


@dataclass(frozen=True, slots=True)
class _Scale:
    label: str
    least: float
    most: float
    ticks: tuple[float, ...]
    unit: str
    logarithmic: bool = False
    relative: bool = False
    factor: float = 1.0

    def y(self, value: float) -> float:
        """Pixels from the top of the panel."""
        if self.logarithmic:
            value = max(value, self.least)
            share = math.log(value / self.least) / math.log(self.most / self.least)
        else:
            share = (value - self.least) / (self.most - self.least)
        return HEIGHT * (1.0 - min(1.02, max(0.0, share)))

    def name(self, value: float) -> str:
        """A tick as people read it."""
        if self.logarithmic and value >= 1.0:
            return f"{value:g} s"
        return f"{value * self.factor:g}{self.unit}"


def _scale(metric: str, lines: list[tuple[int, Float64Array]]) -> _Scale:
    highest = max((float(values.max()) for _, values in lines), default=1.0)
    if metric == "request_rate":
        top = max(
            (float((v / v[: round(BEFORE / STEP)].mean()).max()) for _, v in lines), default=1.0
        )
        top = max(2.0, math.ceil(top))
        return _Scale("Requests, relative to before", 0, top, (0, 1, top), "x", relative=True)
    if metric.startswith("latency"):
        lowest = min(float(values.min()) for _, values in lines)
        powers = range(math.floor(math.log10(lowest)), math.ceil(math.log10(highest)) + 1)
        ticks = tuple(10.0**power for power in powers)
        label = f"Latency {metric.removeprefix('latency_')} (logarithmic)"
        return _Scale(label, ticks[0], ticks[-1], ticks, " ms", logarithmic=True, factor=1e3)
    if metric in {"cpu_usage", "memory_usage", "disk_usage", "hit_ratio"}:
        label = metric.replace("_", " ").replace("cpu", "CPU").capitalize()
        label = label.replace("Cpu", "CPU")
        return _Scale(label, 0, 1, (0, 0.5, 1), " %", factor=100.0)
    if metric in {"error_rate", "retransmits"}:
        top = next(one for one in (0.01, 0.05, 0.1, 0.2, 0.5, 1.0) if one >= min(1.0, highest))
        label = "Failing requests" if metric == "error_rate" else "Retransmitted packets"
        return _Scale(label, 0, top, (0, top / 2, top), " %", factor=100.0)
    top = 10.0 ** math.ceil(math.log10(max(1.0, highest)))
    top = next(one for one in (top / 5, top / 2, top) if one >= highest)
    unit = " s" if metric == "clock_offset" else ""
    return _Scale(metric.replace("_", " ").capitalize(), 0, top, (0, top / 2, top), unit)


def _line(values: Float64Array, scale: _Scale, colour: str) -> str:
    points = [
        (round(at * WIDTH / (len(values) - 1)), round(scale.y(float(value)), 1))
        for at, value in enumerate(values)
    ]
    steps = [f"M{points[0][0]} {points[0][1]:g}"]
    for (x0, y0), (x1, y1) in pairwise(points):
        steps.append(f"l{x1 - x0} {round(y1 - y0, 1):g}")
    return f'<path d="{"".join(steps)}" fill="none" stroke="{colour}" stroke-width="1.3"/>'


if __name__ == "__main__":
    main()
