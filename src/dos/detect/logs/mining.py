"""From raw lines to templates: tokens, masks, and a tree of fixed depth, in compiled loops.

A line is cut into tokens, tokens that are variable by their looks (digits, paths, addresses) are
masked, and the rest is matched against the templates of the same entity with the same number of
tokens and the same first one, as in Drain (He, Zhu, Zheng & Lyu, "Drain: an online log parsing
approach with fixed depth tree", ICWS 2017). What differs from Drain:

* No regular expressions: see `tokens.py`.
* Runs of masked tokens count as one, so that lists of any length make one template.
* Words that look like names or values (`catalog-db`, `a.b.C`, `user=root`) vary more readily than
  plain ones. Lines that differ in a single plain word are not merged at once, or "session opened"
  and "session closed" would be one: they are when `FAMILY` templates differ in that word only.
* Masks do not count as agreement.

State is structure of arrays, one row a template; each entity has a chain of its rows. A small table
of the shapes of lines seen lately saves most lines the walk along the chain; it is part of the
state, so that a restored miner goes on exactly as the one that was written down.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dos.detect.logs.tokens import (
    MASK,
    MAX_TOKENS,
    OFFSET,
    PRIME,
    WILD,
    Line,
    UInt64Array,
    tokenise,
)
from dos.kit.compiled import compiled
from dos.model.telemetry import Float64Array, Int32Array, Int64Array, UInt8Array

UInt16Array = npt.NDArray[np.uint16]

EXAMPLE = 256
"""Bytes of the first line that are kept to show the template with."""
SHAPES = 4096
"""Shapes remembered."""
SIMILAR = 0.6
"""Share of words that must agree for lines that differ in several to be of one template."""
FAMILY = 3
"""Templates that differ in one word only from which on that word is a variable."""
FAMILY_FIRST = 8
"""The same for the first word, which mostly says what a line is about."""

SERIAL, LINES, FREE, CELLS = 0, 1, 2, 3
"""Places in `Store.cell`: last serial number, lines seen, first free row; and their number."""


class Store(NamedTuple):
    """Columns of templates, `[row]` or `[row, width]`; see `layout.py`."""

    entity: Int32Array
    next: Int32Array
    size: Int32Array
    serial: Int64Array
    used: Int64Array
    seen: Int64Array
    first: Int64Array
    last: Int64Array
    severity: UInt8Array
    token: UInt64Array
    start: UInt16Array
    stop: UInt16Array
    example: UInt8Array
    length: UInt16Array
    lines: Float64Array
    squares: Float64Array
    mean: Float64Array
    variance: Float64Array
    strange: Float64Array
    strange_ever: Float64Array
    odd: UInt8Array
    streak: Int32Array
    head: Int32Array
    """`[entity]` first row of its chain, -1 for none."""
    templates: Int32Array
    """`[entity]` rows in its chain."""
    fresh: Float64Array
    """`[entity]` templates made in this stretch of time."""
    shape: UInt64Array
    shape_row: Int32Array
    shape_serial: Int64Array
    """`[SHAPES]` what is remembered of shapes."""
    cell: Int64Array
    """`[CELLS]`."""


class Lines(NamedTuple):
    """Lines to be mined, in columns `[line]`."""

    data: UInt8Array
    """All bytes."""
    offset: Int64Array
    """`[line + 1]` where each begins in `data`."""
    entity: Int32Array
    """Row of its entity."""
    timestamp: Int64Array
    severity: UInt8Array
    weight: Float64Array


class Mined(NamedTuple):
    """What became of the lines."""

    serial: Int64Array
    """`[line]` of its template; rows are used again, serial numbers are not."""
    absorbed: Int64Array
    """`[merge, 2]` serial numbers: the first became part of the second."""
    merges: Int64Array
    """`[1]` how many there are."""


@compiled
def mine(store: Store, line: Line, lines: Lines, i: int, most: int, mined: Mined) -> int:
    """Find or make the template of line `i`, and count it.

    There must be a free row, or the entity must have `most` templates already: then its least
    recently used goes. `mined.absorbed` must have room for as many merges as there are templates.

    Returns:
        The row of the template.
    """
    size = tokenise(lines.data, lines.offset[i], lines.offset[i + 1], line)
    store.cell[LINES] += 1
    entity = lines.entity[i]
    shape = _shape(entity, line.token, size)
    place = int(shape >> np.uint64(52))
    row = -1
    if store.shape[place] == shape:
        known = store.shape_row[place]
        if store.serial[known] == store.shape_serial[place]:
            row = known
    if row < 0:
        row = _find(store, line, entity, size, mined)
        if row < 0:
            row = _family(store, line, entity, size, mined)
        if row < 0:
            row = _make(store, line, lines, i, size, most)
            store.fresh[entity] += 1.0
        store.shape[place] = shape
        store.shape_row[place] = row
        store.shape_serial[place] = store.serial[row]
    _count(store, lines, i, row)
    return int(row)


@compiled
def _count(store: Store, lines: Lines, i: int, row: int) -> None:
    weight, at = lines.weight[i], lines.timestamp[i]
    store.used[row] = store.cell[LINES]
    store.seen[row] += 1
    store.last[row] = max(store.last[row], at)
    store.severity[row] = max(store.severity[row], lines.severity[i])
    store.lines[row] += weight
    store.squares[row] += weight * weight


@compiled
def _shape(entity: int, token: UInt64Array, size: int) -> np.uint64:
    """Hash of what is left of a line when its masked tokens are left out."""
    found = OFFSET ^ np.uint64(entity + 1)
    for p in range(size):
        found = (found ^ token[p]) * PRIME
        found ^= found >> np.uint64(29)
    found *= PRIME
    return found ^ (found >> np.uint64(32))


@compiled
def _find(store: Store, line: Line, entity: int, size: int, mined: Mined) -> int:
    """The entity's template that fits best, made more general where it has to be; -1 for none."""
    best, closest, sole = -1, SIMILAR - 1e-9, False
    row = int(store.head[entity])
    while row >= 0:
        fits = store.size[row] == size
        if fits and size > 0:
            fits = store.token[row, 0] == line.token[0] or store.token[row, 0] == WILD
        if fits:
            equal, against, plain = _compare(store, line, row, size)
            if against == 0:
                return int(row)
            near = equal / (equal + 0.5 * against)
            if near > closest:
                best, closest = row, near
                sole = plain == 1 and against == 2
        row = int(store.next[row])
    if sole:  # for `_family` to decide
        return -1
    if best >= 0:
        for p in range(size):
            if store.token[best, p] != line.token[p]:
                store.token[best, p] = WILD
        _gather(store, best, mined)
    return int(best)


@compiled
def _gather(store: Store, into: int, mined: Mined) -> None:
    """Absorb the templates that `into`, which became more general, now says as well."""
    row = int(store.head[store.entity[into]])
    while row >= 0:
        after = int(store.next[row])
        same = row != into and store.size[row] == store.size[into]
        for p in range(store.size[into] if same else 0):
            ours = store.token[into, p]
            same = same and (ours == WILD or ours == store.token[row, p])
        if same:
            mined.absorbed[mined.merges[0], 0] = store.serial[row]
            mined.absorbed[mined.merges[0], 1] = store.serial[into]
            mined.merges[0] += 1
            _absorb(store, row, into)
        row = after


@compiled
def _compare(store: Store, line: Line, row: int, size: int) -> tuple[int, int, int]:
    """Words that agree; twice the weight of those that do not; plain words that differ."""
    equal = against = plain = 0
    for p in range(size):
        ours, theirs = store.token[row, p], line.token[p]
        if ours == theirs:
            equal += 1 if ours > MASK else 0
        elif ours == WILD:
            continue
        elif MASK in (ours, theirs):
            against += 2
        elif (ours | theirs) & MASK:  # names
            against += 1
        else:
            against += 2
            plain += 1
    return equal, against, plain


@compiled
def _family(store: Store, line: Line, entity: int, size: int, mined: Mined) -> int:
    """Where a word makes a family too many, its oldest template with that word as a variable."""
    line.tally[:size] = 0
    row = int(store.head[entity])
    while row >= 0:
        p = _sole_difference(store, line, row, size)
        if p >= 0:
            line.tally[p] += 1
        row = int(store.next[row])
    word = -1
    for p in range(size):
        if line.tally[p] + 1 >= (FAMILY if p > 0 else FAMILY_FIRST):
            word = p
    if word < 0:
        return -1
    oldest, row = -1, int(store.head[entity])
    while row >= 0:
        if _sole_difference(store, line, row, size) == word:
            older = oldest < 0 or store.serial[row] < store.serial[oldest]
            oldest = row if older else oldest
        row = int(store.next[row])
    store.token[oldest, word] = WILD
    _gather(store, oldest, mined)
    return int(oldest)


@compiled
def _sole_difference(store: Store, line: Line, row: int, size: int) -> int:
    """The one word in which template and line differ while they agree in another; else -1."""
    if store.size[row] != size:
        return -1
    found, equal = -1, 0
    for p in range(size):
        ours, theirs = store.token[row, p], line.token[p]
        if ours == theirs:
            equal += 1 if ours > MASK else 0
        elif found >= 0 or ours <= MASK or theirs <= MASK:
            return -1
        else:
            found = p
    return found if equal > 0 else -1


@compiled
def _absorb(store: Store, row: int, into: int) -> None:
    """Add what is known of `row` to `into` and give it up."""
    store.seen[into] += store.seen[row]
    store.first[into] = min(store.first[into], store.first[row])
    store.last[into] = max(store.last[into], store.last[row])
    store.used[into] = max(store.used[into], store.used[row])
    store.severity[into] = max(store.severity[into], store.severity[row])
    store.lines[into] += store.lines[row]
    store.squares[into] += store.squares[row]
    store.mean[into] += store.mean[row]
    store.variance[into] += store.variance[row]
    store.strange[into] += store.strange[row]
    store.strange_ever[into] += store.strange_ever[row]
    store.lines[row] = 0.0
    _unlink(store, row)
    store.next[row] = store.cell[FREE]
    store.cell[FREE] = row


@compiled
def _unlink(store: Store, row: int) -> None:
    entity = store.entity[row]
    before = -1
    here = store.head[entity]
    while here != row:
        before, here = here, store.next[here]
    if before < 0:
        store.head[entity] = store.next[row]
    else:
        store.next[before] = store.next[row]
    store.templates[entity] -= 1
    store.entity[row] = -1
    store.serial[row] = 0


@compiled
def _make(store: Store, line: Line, lines: Lines, i: int, size: int, most: int) -> int:
    """A template made of a line: in a free row, or in that of the entity's least recently used."""
    entity, begin = lines.entity[i], lines.offset[i]
    if store.templates[entity] >= most:
        row = here = int(store.head[entity])
        while here >= 0:
            row = here if store.used[here] < store.used[row] else row
            here = int(store.next[here])
        _unlink(store, row)
    else:
        row = store.cell[FREE]
        store.cell[FREE] = store.next[row]
    store.cell[SERIAL] += 1
    store.serial[row] = store.cell[SERIAL]
    store.entity[row], store.next[row] = entity, store.head[entity]
    store.head[entity] = row
    store.templates[entity] += 1
    store.size[row] = size
    store.seen[row] = 0
    store.first[row] = store.last[row] = lines.timestamp[i]
    store.severity[row] = 0
    store.lines[row] = store.squares[row] = store.mean[row] = store.variance[row] = 0.0
    store.strange[row] = store.strange_ever[row] = 0.0
    store.streak[row] = 0
    for p in range(MAX_TOKENS):
        inside = p < size
        store.token[row, p] = line.token[p] if inside else WILD
        store.start[row, p] = min(line.start[p], EXAMPLE) if inside else 0
        store.stop[row, p] = min(line.stop[p], EXAMPLE) if inside else 0
    length = min(lines.offset[i + 1] - begin, EXAMPLE)
    store.length[row] = length
    for k in range(EXAMPLE):
        store.example[row, k] = lines.data[begin + k] if k < length else 0
    return int(row)
