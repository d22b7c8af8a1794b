"""How often the true root cause of recorded cases is ranked first, and how long ranking takes.

    python benchmarks/root_cause.py CASES… [--ranker statistical]

CASES are cases, sets or folders of sets (layout: docs/recorded-cases.md). Prints a Markdown table
with one row for each set, with the start of the trouble as recorded and reported 60 s late.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from dos.evaluate.score import score_sets
from dos.kit.errors import DosError
from dos.kit.plugins import load, names
from dos.rca.base import ROOM, Ranker


def main() -> None:
    """Score and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", type=Path, nargs="+")
    parser.add_argument("--ranker", choices=names(ROOM), default="statistical")
    options = parser.parse_args()
    plugin = load(ROOM, options.ranker)
    ranker: Ranker = plugin.build(plugin.config())
    try:
        report = score_sets(options.cases, ranker)
    except DosError as error:
        parser.exit(1, f"error: {error}\n")
    sys.stdout.write(report.markdown())


if __name__ == "__main__":
    main()
