"""Writes small recorded cases for tests."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np

BEGAN = 1_700_000_000
INJECT = BEGAN + 600
ABOUT: dict[str, object] = {
    "dataset": "toy",
    "case": "case-001",
    "inject_time": INJECT,
    "end_time": BEGAN + 890,
    "fault": "latency-of-the-database",
    "root_cause": {"entity": "db", "service": "db", "metric": "latency"},
}


def write_case(folder: Path, *, about: dict[str, object] | None = None, gz: bool = True) -> Path:
    """A case of 3 services at 10 s for 15 minutes, where `db` gets slow; with its set's edges."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(7)
    lines = ["time,web|latency,api|latency,db|latency,db|requests_total"]
    for row in range(90):
        during = row >= 60
        web = 0.3 + 0.01 * rng.standard_normal() + 0.5 * during
        api = 0.2 + 0.01 * rng.standard_normal() + 0.5 * during
        db = 0.1 + 0.01 * rng.standard_normal() + 0.5 * during
        cells = [f"{web:.6f}", "" if row == 5 else f"{api:.6f}", f"{db:.6f}", str(row * 100)]
        lines.append(",".join([str(BEGAN + row * 10), *cells]))
    text = "\n".join(lines) + "\n"
    if gz:
        (folder / "metrics.csv.gz").write_bytes(gzip.compress(text.encode()))
    else:
        (folder / "metrics.csv").write_text(text)
    (folder / "case.json").write_text(json.dumps(ABOUT | (about or {})))
    (folder.parent / "edges.csv").write_text("caller,callee\nweb,api\napi,db\n")
    return folder


def write_metrics(folder: Path, text: str) -> Path:
    """Only a metrics file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.csv").write_text(text)
    return folder
