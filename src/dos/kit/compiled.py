"""Loops over arrays, compiled to machine code when they are first called (numba).

Every series is scored at every tick: in NumPy each of a hundred small operations walks through
memory by itself, compiled loops walk through it once. The compiled code is kept in
`__pycache__`, or in the user's cache folder where that cannot be written, and not at all where
neither can. It holds code of the compiled functions that it calls, too, so it is made anew when
any file of the same room (`dos/detect`, say) with compiled functions changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar, cast

import numba
from numba.core import caching, config

F = TypeVar("F", bound=Callable[..., object])
_MARKS = (b"@compiled", b"@lean")
_LOCATORS = "CACHE_LOCATOR_CLASSES"
"""As the variable `NUMBA_CACHE_LOCATOR_CLASSES`: who says where compiled code is kept."""


def compiled(function: F) -> F:
    """Decorates a function of numbers and arrays; it may call others that are `compiled` or `lean`.

    Results are those of IEEE arithmetic in the order written (no fast-math, no threads), so that
    they are the same at every run; a division by zero gives an infinity or NaN, as in NumPy.
    Other threads run meanwhile: nobody else may write to the arrays that are passed.
    """
    return _made(function, {})


def lean(function: F) -> F:
    """As `compiled`, for a function that makes no arrays; it may call others that are `lean`.

    It does not count who holds an array that it is given. Counting takes two locked instructions
    for each array of each call, which is more than what most calls do with it.
    """
    return _made(function, {"_nrt": False})


def _made(function: F, options: dict[str, bool]) -> F:
    settings = config.__dict__  # set while it is imported, so that no type checker knows them
    before = settings[_LOCATORS]
    if not before:
        names = (one.__name__ for one in (Chosen, Beside, OfUser))
        settings[_LOCATORS] = ",".join(f"{__name__}.{name}" for name in names)
    njit = cast(Callable[..., Callable[[F], F]], numba.njit)
    try:
        made = njit(cache=True, nogil=True, error_model="numpy", **options)(function)
    except RuntimeError:  # nowhere to keep the code: an installation that cannot be written
        made = njit(nogil=True, error_model="numpy", **options)(function)
    finally:
        settings[_LOCATORS] = before
    return made


def is_kept(function: Callable[..., object]) -> bool:
    """Whether an earlier run left the code of a compiled function, and nothing changed since."""
    kept = getattr(function, "_cache", None)
    index = getattr(kept, "_cache_file", None)
    return index is not None and bool(index._load_index())


class _Room:
    """Says by what code is up to date: all compiled functions of the same room."""

    _py_file: str

    def get_source_stamp(self) -> bytes:
        """Changes when one of those files does."""
        path = Path(self._py_file)
        rooms = [one for one in path.parents if one.parent.name == "dos"]
        return _digest(rooms[0] if rooms else path)


class Chosen(_Room, caching.UserProvidedCacheLocator):
    """In the folder that `NUMBA_CACHE_DIR` names."""


class Beside(_Room, caching.InTreeCacheLocator):
    """In `__pycache__` beside the source."""


class OfUser(_Room, caching.UserWideCacheLocator):
    """In the user's cache folder."""


@cache
def _digest(where: Path) -> bytes:
    """Of a file, or of all files below a folder that have compiled functions."""
    paths = sorted(where.rglob("*.py")) if where.is_dir() else [where]
    digest = hashlib.sha256()
    for path in paths:
        text = path.read_bytes()
        if path == where or any(mark in text for mark in _MARKS):
            digest.update(path.name.encode() + b"\0" + text)
    return digest.digest()
