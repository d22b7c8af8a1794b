"""Loops over arrays, compiled to machine code when they are first called (numba).

Every series is scored at every tick: in NumPy each of a hundred small operations walks through
memory by itself, compiled loops walk through it once. The compiled code is kept in
`__pycache__`, or in the user's cache folder where that cannot be written, and is made anew when
contents of the function's file change (a new date is not enough). It is *not* made anew when a
compiled function of another file, which it calls, changes: keep what calls each other in one file.
Where that would be too long, the functions of the other files are `part_of_compiled`, and the file
of the one that calls them names their `digest`, which a test compares.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., object])


def compiled(function: F) -> F:
    """Decorates a function of numbers and arrays; it may call others that are `compiled`.

    Results are those of IEEE arithmetic in the order written (no fast-math, no threads), so that
    they are the same at every run; a division by zero gives an infinity or NaN, as in NumPy.
    Other threads run meanwhile: nobody else may write to the arrays that are passed.
    """
    try:
        made = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # nowhere to keep the code: an installation that cannot be written
        made = numba.njit(nogil=True, error_model="numpy")(function)
    return cast(F, made)


def part_of_compiled(function: F) -> F:
    """Decorates a function that `compiled` ones of other files call; not kept by itself."""
    return cast(F, numba.njit(nogil=True, error_model="numpy")(function))


def digest(*files: str) -> str:
    """A short digest of the contents of source files, given as modules' `__file__`."""
    contents = hashlib.blake2b(digest_size=6)
    for file in files:
        contents.update(Path(file).read_bytes())
    return contents.hexdigest()
