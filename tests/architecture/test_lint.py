"""The rules that ruff is configured for catch what the house forbids, and each ignore says why."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

CLOCKED = [
    "import datetime\n\nNOW = datetime.datetime.now(tz=datetime.UTC)\n",
    "from datetime import UTC, datetime\n\nNOW = datetime.now(UTC)\n",
    "import time\n\nNOW = time.time()\n",
    "from time import monotonic\n\nNOW = monotonic()\n",
    "import time\n\nNOW = time.perf_counter()\n",
    "import time\n\ntime.sleep(1)\n",
    "import asyncio\n\n\nasync def nap() -> None:\n    await asyncio.sleep(1)\n",
]
UNSEEDED = [
    "import random\n\nX = random.random()\n",
    "from random import choice\n\nX = choice([1, 2])\n",
    "import random\n\nrandom.seed(7)\n",
    "import uuid\n\nX = uuid.uuid4()\n",
]
FORBIDDEN = [
    *[("TID251", text) for text in CLOCKED + UNSEEDED],
    ("NPY002", "import numpy as np\n\nX = np.random.rand(3)\n"),
    ("NPY002", "import numpy as np\n\nnp.random.seed(7)\n"),
    ("T201", 'print("hello")\n'),
    ("BLE001", "try:\n    X = 1\nexcept Exception:\n    X = 2\n"),
    ("DTZ006", "import datetime\n\nX = datetime.datetime.fromtimestamp(0)\n"),
    ("S301", 'import pickle\n\nX = pickle.loads(b"")\n'),
    ("S506", 'import yaml\n\nX = yaml.load("", yaml.Loader)\n'),
    ("S602", 'import subprocess\n\nsubprocess.run("ls", shell=True, check=True)\n'),
    (
        "ASYNC230",
        'async def f() -> str:\n    with open("x") as file:\n        return file.read()\n',
    ),
    ("PGH003", "X: int = 'a'  # type: ignore\n"),
    ("PGH004", "X = 1  # noqa\n"),
    ("FIX002", "X = 1  # TODO later\n"),
    ("TID252", "from .base import Source\n"),
    ("RUF006", "import asyncio\n\n\nasync def f() -> None:\n    asyncio.create_task(f())\n"),
]


RUFF = [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format=json"]


def lint(root: Path, text: str, path: str) -> set[str]:
    """Codes that ruff reports for `text` as if it stood in the file `path`."""
    run = subprocess.run(
        [*RUFF, "--stdin-filename", path, "-"],
        input=text,
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode in {0, 1}, run.stderr
    return {finding["code"] for finding in json.loads(run.stdout)}


@pytest.mark.parametrize(("code", "text"), FORBIDDEN)
def test_forbidden_in_src(root: Path, code: str, text: str) -> None:
    assert code in lint(root, f'"""A module."""\n\n{text}', "src/dos/detect/engine.py")


@pytest.mark.parametrize("text", CLOCKED)
def test_only_the_clock_reads_the_clock(root: Path, text: str) -> None:
    assert "TID251" not in lint(root, text, "src/dos/kit/clock.py")


def test_the_clock_is_excused_from_that_rule_only(root: Path) -> None:
    text = "import datetime\n\nX = datetime.datetime.now()\n"
    assert "DTZ005" in lint(root, text, "src/dos/kit/clock.py")


def test_a_seeded_generator_is_fine(root: Path) -> None:
    text = '"""A module."""\n\nimport numpy as np\n\nRNG = np.random.default_rng(7)\n'
    assert lint(root, text, "src/dos/kit/clock.py") == set()


def test_a_package_without_init_is_found(root: Path) -> None:
    """import-linter does not see such a package, so nothing else would notice."""
    assert "INP001" in lint(root, '"""A module."""\n', "src/dos/nowhere/module.py")


IGNORE = re.compile(r"#\s*(?:noqa|type:\s*ignore|pyright:\s*ignore|pragma:|fmt:\s*off)")
REASON = re.compile(
    r"""\#\s*(?:noqa:\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*     # the rules of ruff
           |(?:type|pyright):\s*ignore\[[\w\s,-]+\]      # of mypy and pyright
           |pragma:\s*[\w\s]+?
           |fmt:\s*off)
        \s*[\s\#:-]\s*(?P<reason>.*)""",
    re.VERBOSE,
)


def without_reason(text: str) -> list[int]:
    """Numbers of the lines of `text` that mute a check and do not say why."""
    return [
        number
        for number, line in enumerate(text.splitlines(), start=1)
        if (mute := IGNORE.search(line))
        and not ((said := REASON.match(line, mute.start())) and re.search(r"\w{3}", said["reason"]))
    ]


def test_an_ignore_has_its_reason_beside_it(root: Path) -> None:
    bare = [
        f"{path.relative_to(root)}:{number}"
        for path in sorted((root / "src").rglob("*.py"))
        for number in without_reason(path.read_text())
    ]
    assert bare == [], (
        "write the reason after the rule: `# noqa: BLE001  a plugin may raise anything`"
    )


@pytest.mark.parametrize(
    "line",
    [
        "x = 1  # noqa: S311",
        "x = 1  # noqa: S311, TID251",
        "x = 1  # type: ignore[no-any-return]",
        "x = 1  # pyright: ignore[reportPrivateUsage]  # -",
        "x = 1  # noqa",
    ],
)
def test_a_bare_ignore_is_found(line: str) -> None:
    assert without_reason(line) == [1]


@pytest.mark.parametrize(
    "line",
    [
        "x = 1  # noqa: S311  jitter needs no cryptography",
        "x = 1  # noqa: S311, TID251 - jitter needs no cryptography",
        "x = 1  # type: ignore[no-any-return]  # the library is untyped",
        "x = 1  # type: ignore[a, b-c]  # the library is untyped",
        "x = 1  # a sentence about noqa",
    ],
)
def test_an_explained_ignore_is_accepted(line: str) -> None:
    assert without_reason(line) == []
