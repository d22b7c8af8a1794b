"""Labelled series to develop detectors on, so that the series of the bench stay unseen.

Clean series of three sources get anomalies of many shapes (`shapes`), lengths and strengths:

* the prefixes of labelled series, which may be used for fitting: of each file only the points
  before `tr_N` and before the first anomaly, nothing later;
* the simulator's healthy metrics, in several worlds;
* synthetic families (`families`).

There are two halves, `develop` to try things on and `validate` to see whether they hold. They
share no prefix, no simulation and no synthetic series; the seed says which prefix is in which
half. Everything is a function of its arguments. A cache folder keeps what was made.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from dos.evaluate.healthy import simulated
from dos.evaluate.series.families import FAMILIES
from dos.evaluate.series.files import Event, LabelledSeries
from dos.evaluate.series.shapes import (
    SHAPES,
    Nature,
    Shape,
    effect_of,
    inject,
    length_of,
    nature_of,
)
from dos.kit.errors import PermanentError
from dos.model.telemetry import BoolArray, Float64Array
from dos.simulate.worlds import world

SIMULATED, SYNTHETIC = "simulated", "synthetic"
"""Groups of what is not from a prefix; a prefix stays in the group of its series."""
_SHORTEST = 400
"""Clean points of a prefix that is used."""
_VALIDATE = 0.4
"""Share of each group's prefixes that is held out for validation."""
_STRENGTH = (3.0, 30.0)
"""Least and largest strength, drawn evenly by its logarithm."""
_QUIET = 0.1
"""Share of the series in which nothing is wrong."""
_LABELLED = 0.1
"""Share of a series' points that is anomalous at most."""
_LOOSE = 0.2
"""Share of the series that are labelled loosely: from a while before to a while after."""
_CYCLIC = 0.4
"""Share of the anomalies of a periodic series that are drawn from what only such a series can have:
most series are not, and so these shapes would be rare."""
_TRIES = 40


class Half(StrEnum):
    """Which half of the development set."""

    DEVELOP = "develop"
    VALIDATE = "validate"


@dataclass(frozen=True, slots=True, kw_only=True)
class DevelopOptions:
    """What to make."""

    seed: int = 0
    half: Half = Half.DEVELOP
    size: float = 1.0
    """How many series of each source, against the usual: about 45 simulated, 50 synthetic, and
    two of each prefix of the half."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Clean:
    """A clean series, before anything is put into it."""

    name: str
    group: str
    values: Float64Array
    step_s: float


def development_set(
    options: DevelopOptions, prefixes: Sequence[LabelledSeries], cache: Path | None = None
) -> list[LabelledSeries]:
    """The half that `options` asks for.

    Args:
        options: What to make.
        prefixes: Labelled series whose clean prefixes are used; may be empty.
        cache: Folder in which the set is kept, and from which it is taken when it is there.

    Raises:
        PermanentError: The cache cannot be written.
    """
    path = None if cache is None else cache / f"{_digest(options, prefixes)}.npz"
    if path is not None and (kept := _load(path)) is not None:
        return kept
    made: list[LabelledSeries] = []
    for clean in _all_clean(options, prefixes):
        rng = np.random.default_rng([options.seed, zlib.crc32(clean.name.encode())])
        series = with_anomalies(rng, clean.name, clean.group, clean.values, clean.step_s)
        if series is not None:
            made.append(series)
    if path is not None:
        _save(path, made)
    return made


def with_anomalies(
    rng: np.random.Generator, name: str, group: str, values: Float64Array, step_s: float
) -> LabelledSeries | None:
    """A clean series with anomalies behind a prefix; None for one that never changes.

    Args:
        rng: Draws prefix, number, shapes, places, lengths and strengths.
        name: Of the series.
        group: It is counted to.
        values: `[n]` clean.
        step_s: Seconds between points.
    """
    count = len(values)
    prefix = round(rng.uniform(0.2, 0.35) * count)
    nature = nature_of(values)
    if nature.scale <= 0:
        return None
    wanted = 0 if rng.random() < _QUIET else int(rng.integers(1, max(2, count // 1_200) + 1))
    changed, events = values, list[Event]()
    free = np.zeros(count, np.bool_)
    free[prefix + 20 : count - 20] = True
    for _ in range(_TRIES):
        if len(events) >= wanted:
            break
        left = round(_LABELLED * count) - sum(one.last - one.first + 1 for one in events)
        drawn = draw(rng, changed, free, nature, left)
        if drawn is not None:
            changed, event = drawn
            events.append(event)
            gap = max(60, event.last - event.first)
            free[max(0, event.first - gap) : event.last + gap + 1] = False
    events.sort(key=lambda one: one.first)
    return LabelledSeries(
        name=name,
        group=group,
        values=changed,
        labels=_labels(rng, count, prefix, events),
        prefix=prefix,
        step_s=step_s,
        row=np.arange(count),
        rows=count,
        events=tuple(events),
    )


def draw(
    rng: np.random.Generator,
    values: Float64Array,
    free: BoolArray,
    nature: Nature,
    most: int,
    shapes: Sequence[Shape] = (),
) -> tuple[Float64Array, Event] | None:
    """One anomaly somewhere free; None where the drawn one does not fit or would not be seen.

    Args:
        rng: Draws shape, place, length and strength.
        values: `[n]` clean but for the anomalies before.
        free: `[n]` where there may be one.
        nature: Of the series.
        most: Points that it may last.
        shapes: One of them, evenly; all, and more often those of cycles, if there are none.
    """
    if not shapes:
        cyclic = nature.period is not None and rng.random() < _CYCLIC
        shapes = [shape for shape in SHAPES if shape.periods > 0] if cyclic else SHAPES
    shape = shapes[int(rng.integers(len(shapes)))]
    length = length_of(rng, shape, nature, max(most, 4))
    if length is None:
        return None
    strength = float(np.exp(rng.uniform(*np.log(_STRENGTH))))
    taken = np.concatenate([[0], np.cumsum(~free)])
    begins = np.flatnonzero(taken[length:] - taken[:-length] == 0)
    if not len(begins):
        return None
    first = int(rng.choice(begins))
    stretch = slice(first, first + length)
    changed = inject(rng, values, stretch, shape, nature, strength)
    if changed is None:
        return None
    return changed, Event(
        shape=shape.name,
        first=first,
        last=first + length - 1,
        effect=effect_of(values[stretch], changed[stretch], nature),
    )


def _labels(
    rng: np.random.Generator, count: int, prefix: int, events: Sequence[Event]
) -> BoolArray:
    """Exact, or loose as people draw them; the same way for all anomalies of a series."""
    labels = np.zeros(count, np.bool_)
    loose = rng.random() < _LOOSE
    for event in events:
        length = event.last - event.first + 1
        pad = round(min(100.0, rng.uniform(0.2, 1.0) * max(length, 10))) if loose else 0
        labels[max(prefix, event.first - pad) : event.last + pad + 1] = True
    return labels


def _all_clean(options: DevelopOptions, prefixes: Sequence[LabelledSeries]) -> Iterator[_Clean]:
    yield from _prefixes(options, prefixes)
    yield from _simulated(options)
    yield from _synthetic(options)


def _prefixes(options: DevelopOptions, series: Sequence[LabelledSeries]) -> Iterator[_Clean]:
    """The clean prefixes of this half, each a few times with other anomalies."""
    by_group: dict[str, list[LabelledSeries]] = {}
    for one in series:
        if one.clean >= _SHORTEST:
            by_group.setdefault(one.group, []).append(one)
    for group, members in sorted(by_group.items()):
        drawn = sorted(members, key=lambda one: zlib.crc32(f"{options.seed}/{one.name}".encode()))
        held_out = round(_VALIDATE * len(drawn))
        mine = drawn[:held_out] if options.half is Half.VALIDATE else drawn[held_out:]
        for one in sorted(mine, key=lambda one: one.name):
            for variant in range(max(1, round(2 * options.size))):
                yield _Clean(
                    name=f"prefix-{one.name}-{variant}",
                    group=group,
                    values=one.values[: one.clean],
                    step_s=one.step_s,
                )


_WORLDS: tuple[tuple[str, float, int], ...] = (
    ("shop", 60.0, 6_000),
    ("sketch", 15.0, 5_000),
    ("generated", 60.0, 4_500),
)
"""World, seconds between samples, points."""
_COLUMNS = 15
"""Metrics drawn of each world."""


def _simulated(options: DevelopOptions) -> Iterator[_Clean]:
    """Metrics of healthy services, drawn from each world."""
    offset = list(Half).index(options.half)
    for place, (name, step_s, count) in enumerate(_WORLDS):
        seed = 1_000 * options.seed + 10 * place + 5 * offset
        healthy = simulated(
            world(name, services=8, seed=seed), seed=seed, step_s=step_s, lengths=[count]
        )
        table = healthy.pieces[0]
        usable = np.flatnonzero(np.isfinite(table).all(axis=0) & (np.ptp(table, axis=0) > 0))
        rng = np.random.default_rng(seed)
        most = min(len(usable), max(1, round(_COLUMNS * options.size)))
        for column in np.sort(rng.choice(usable, most, replace=False)).tolist():
            what = healthy.columns[column]
            measure = what.measure.replace(" ", "-")
            yield _Clean(
                name=f"{options.half}-{name}-{what.entity}-{measure}",
                group=SIMULATED,
                values=table[:, column],
                step_s=step_s,
            )


def _synthetic(options: DevelopOptions) -> Iterator[_Clean]:
    """Some series of each family."""
    offset = list(Half).index(options.half)
    for place, (name, family) in enumerate(FAMILIES.items()):
        for number in range(max(1, round(4 * options.size))):
            rng = np.random.default_rng([options.seed, offset, place, number])
            step_s = float(rng.choice([30.0, 60.0, 300.0]))
            count = int(rng.integers(2_500, 10_000))
            yield _Clean(
                name=f"{options.half}-{name}-{number}",
                group=SYNTHETIC,
                values=family(rng, count, step_s),
                step_s=step_s,
            )


def _digest(options: DevelopOptions, prefixes: Sequence[LabelledSeries]) -> str:
    """Names what a set is made of: arguments, prefixes, and the code that makes it."""
    check = 0
    for one in prefixes:
        check = zlib.crc32(one.name.encode(), check)
        check = zlib.crc32(one.values[: one.clean].tobytes(), check)
    here = Path(__file__).parent
    code = [here / f"{name}.py" for name in ("develop", "families", "shapes", "vus")]
    code += [here.parent / "healthy.py", *sorted((here.parents[1] / "simulate").rglob("*.py"))]
    for path in code:
        check = zlib.crc32(path.read_bytes(), check)
    return f"{options.half}-{options.seed}-{options.size:g}-{check:08x}"


def _save(path: Path, made: Sequence[LabelledSeries]) -> None:
    about = [
        {
            "name": one.name,
            "group": one.group,
            "prefix": one.prefix,
            "step_s": one.step_s,
            "events": [asdict(event) for event in one.events],
        }
        for one in made
    ]
    arrays: dict[str, npt.NDArray[np.generic]] = {}
    for place, one in enumerate(made):
        arrays[f"values{place}"], arrays[f"labels{place}"] = one.values, one.labels
    arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    partial = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
        partial.replace(path)
    except OSError as error:
        raise PermanentError(f"{path}: cannot be written: {error.strerror or error}.") from error


def _load(path: Path) -> list[LabelledSeries] | None:
    """What `_save` wrote; None where there is nothing, or nothing whole."""
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            about = json.loads(arrays["about"].tobytes())
            return [
                LabelledSeries(
                    name=one["name"],
                    group=one["group"],
                    values=arrays[f"values{place}"],
                    labels=arrays[f"labels{place}"],
                    prefix=one["prefix"],
                    step_s=one["step_s"],
                    row=np.arange(len(arrays[f"values{place}"])),
                    rows=len(arrays[f"values{place}"]),
                    events=tuple(Event(**event) for event in one["events"]),
                )
                for place, one in enumerate(about)
            ]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error):
        return None
