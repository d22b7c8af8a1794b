"""Loops over arrays, compiled to machine code when they are first called (numba).

Every series is scored at every tick: in NumPy each of a hundred small operations walks through
memory by itself, compiled loops walk through it once. The compiled code is kept in
`__pycache__`, or in the user's cache folder where that cannot be written, and is made anew when
the file of the function changes. It is *not* made anew when a compiled function of another file,
which it calls, changes: keep what calls each other in one file, or touch both.
"""

from __future__ import annotations

from collections.abc import Callable
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
