"""Watch the simulated system: `python simulations/demo_simulation.py`.

A thin door to `dos simulate run`, with all its options, that works from a clone, installed or not.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from dos.cli.main import app

if __name__ == "__main__":
    app(["simulate", "run", *sys.argv[1:]], prog_name="dos")
