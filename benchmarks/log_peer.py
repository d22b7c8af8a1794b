"""Drain3 for `logs.py`: lists of lines on standard input, groups and speed on standard output.

Runs in a Python that has drain3; unmasked, and with the masks of its own example.
"""

from __future__ import annotations

import json
import sys
import time

from drain3 import TemplateMiner
from drain3.masking import MaskingInstruction
from drain3.template_miner_config import TemplateMinerConfig

EDGE = r"((?<=[^A-Za-z0-9])|^)", r"((?=[^A-Za-z0-9])|$)"
MASKS = {
    "ID": r"(([0-9a-f]{2,}:){3,}([0-9a-f]{2,}))",
    "IP": r"(\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})",
    "SEQ": r"([0-9a-f]{6,} ?){3,}",
    "HEX": r"(0x[a-f0-9A-F]+)",
    "NUM": r"([\-\+]?\d+)",
}


def run(corpora: list[list[str]], *, masked: bool) -> dict[str, object]:
    """Groups of each corpus, by a miner of its own."""
    found, lines, seconds = [], 0, 0.0
    for bodies in corpora:
        config = TemplateMinerConfig()
        config.profiling_enabled = False
        if masked:
            config.masking_instructions = [
                MaskingInstruction(EDGE[0] + pattern + EDGE[1], name)
                for name, pattern in MASKS.items()
            ]
        miner = TemplateMiner(config=config)
        start = time.process_time()
        found.append([miner.add_log_message(body)["cluster_id"] for body in bodies])
        seconds += time.process_time() - start
        lines += len(bodies)
    kind = "Drain3 masked" if masked else "Drain3"
    return {"kind": kind, "groups": found, "lines_per_second": lines / seconds}


if __name__ == "__main__":
    task = json.load(sys.stdin)
    json.dump([run(task, masked=False), run(task, masked=True)], sys.stdout)
