"""Templates of log lines: accuracy and speed, beside Drain3 in the same run.

    python benchmarks/logs.py [--loghub DIR] [--drain PYTHON] [--lines N] [--healthy HOURS]
                              [--json FILE]

Grouping accuracy is that of Zhu et al., "Tools and Benchmarks for Automated Log Parsing" (ICSE-SEIP
2019): a line is right if its group holds exactly the lines of its true template. Data:

* loghub's labelled samples, if a folder with `*_structured.csv` files (columns `Content` and
  `EventId`) is given; they are not shipped with DOS;
* the simulator's logs, whose templates are known, service by service;
* lines in the formats of well-known programs (`log_formats.txt`), drawn from a seed.

Drain3 (masked as in its example, and unmasked) runs where `--drain` names a Python that has it.
"""

from __future__ import annotations

import argparse
import csv
import json
import platform
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random

import numpy as np

from dos.detect.logs.detector import LogDetector
from dos.detect.logs.kernel import take
from dos.detect.logs.layout import LogState, room, scratch
from dos.detect.logs.mining import Lines
from dos.kit.clock import Millis
from dos.model.ids import EntityId
from dos.model.logs import LogBatch
from dos.simulate.engine import Simulation
from dos.simulate.faults import FaultType
from dos.simulate.log_stream import LogStream
from dos.simulate.scenario import Dice, RandomIncidents
from dos.simulate.signals import Amount, Signals
from dos.simulate.worlds import world

HERE = Path(__file__).parent
NOON = Millis(1_767_623_400_000)
PEER = HERE / "log_peer.py"
Corpus = Mapping[str, tuple[Sequence[str], Sequence[str]]]
"""Lines and their true templates, by system."""


def loghub(folder: Path) -> Corpus:
    """The labelled samples in `folder` and below."""
    found: dict[str, tuple[Sequence[str], Sequence[str]]] = {}
    for path in sorted(folder.rglob("*_structured*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        name = path.name.split("_")[0]
        found[name] = [row["Content"] for row in rows], [row["EventId"] for row in rows]
    return found


def simulated(lines: int) -> Corpus:
    """Logs of the shop with random incidents, service by service."""
    shop = world("shop", services=12, seed=0)
    dice = Dice(
        chance=0.05,
        quiet=60.0,
        at_once=2,
        weights=dict.fromkeys(FaultType, 1.0),
        severity=(0.5, 0.95),
    )
    simulation = Simulation(
        shop,
        seed=3,
        step_seconds=5.0,
        start=NOON,
        incidents=RandomIncidents(shop, 3, since=NOON, dice=dice),
        changes_per_day=50.0,
    )
    signals = Signals(simulation, seed=3, amount=Amount(traces=0, logs=100))
    found: dict[str, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    count = 0
    while count < lines:
        for record in signals.tick().records:
            place = "node" if record.pod is None else f"service {record.pod.service}"
            found[place][0].append(record.body)
            found[place][1].append(record.template)
            count += 1
    return dict(sorted(found.items()))


class Words(dict[str, str]):
    """Variables of the formats, drawn anew each time."""

    def __init__(self, rng: Random) -> None:
        super().__init__()
        self._rng = rng
        users = "root admin test oracle bob alice deploy postgres guest ubuntu eve mallory nagios"
        self._choices = {
            "user": users.split(),
            "host": [
                "web-1.example.com",
                "db2.internal",
                "mail.example.org",
                "ns.telekom.de",
                "edge",
            ],
            "method": ["GET", "GET", "GET", "POST", "PUT", "DELETE"],
            "status": ["200", "200", "200", "201", "204", "301", "404", "500", "502", "503"],
            "state": ["LOOKING", "FOLLOWING", "LEADING"],
            "agent": ["curl/7.88.1", "Mozilla/5.0 (X11; Linux x86_64)", "kube-probe/1.33", "-"],
            "db": ["shop", "users", "metrics"],
            "table": ["orders", "items", "users", "payments", "sessions", "carts", "stock"],
            "verb": ["ADD", "UPDATE", "DELETE", "PLEG", "REMOVE"],
            "ns": ["default", "kube-system", "shop", "monitoring"],
            "container": ["app", "sidecar", "proxy", "exporter"],
            "volume": ["data", "config", "kube-api-access-x7z2p", "certs"],
            "image": ["registry.local/shop/cart:1.4.2", "nginx:1.27", "redis:7"],
            "resource": ["memory", "ephemeral-storage", "inodes"],
            "driver": ["xhci_hcd", "ehci-pci"],
            "proc": ["java", "python3", "node", "postgres", "chrome"],
            "dev": ["sda1", "nvme0n1p2", "dm-0"],
            "lib": ["libc-2.31.so", "libjvm.so", "python3.11"],
            "unit": [
                "Session cron.service",
                "Daily apt download",
                "OpenSSH server",
                "Docker engine",
            ],
            "cache": ["users", "sessions", "prices", "catalog"],
            "class": [
                "com.shop.web.Cart",
                "com.shop.web.Order",
                "org.acme.Health",
                "c.s.api.Search",
            ],
            "job": ["cleanup", "reindex", "report-daily", "import"],
            "done": ["SUCCEEDED", "FAILED", "CANCELLED", "SKIPPED", "PAID", "SHIPPED"],
            "client": ["payment-client", "stock-client", "mail"],
            "breaker": ["CLOSED", "OPEN", "HALF_OPEN"],
            "exception": ["java.net.SocketTimeoutException", "java.net.ConnectException"],
            "group": ["orders-v2", "billing", "search"],
            "app": ["cart", "checkout", "catalog-api", "frontend"],
        }
        self._drawn: dict[str, Callable[[Random], str]] = {
            "int": lambda r: str(r.randrange(10 ** r.randrange(1, 6))),
            "float": lambda r: f"{r.random() * 100:.1f}",
            "port": lambda r: str(r.randrange(1024, 65536)),
            "ip": lambda r: ".".join(str(r.randrange(1, 255)) for _ in range(4)),
            "hex": lambda r: f"0x{r.getrandbits(48):x}",
            "block": lambda r: f"blk_{r.randrange(-(10**18), 10**18)}",
            "path": lambda r: f"/var/{r.choice(['lib', 'app'])}/part-{r.randrange(9999):05d}",
            "url": lambda r: f"/api/v1/{r.choice(['carts', 'items'])}/{r.randrange(9999)}",
            "version": lambda r: f"2.{r.randrange(9)}.{r.randrange(60)} (Unix)",
            "size": lambda r: f"{r.random() * 900:.1f} {r.choice(['B', 'KB', 'MB', 'GB'])}",
            "dur": lambda r: f"{r.random() * 90:.3f}s",
            "clock": lambda r: f"{r.randrange(9)}:{r.randrange(60):02d}:{r.random() * 60:06.3f}",
            "uuid": lambda r: "-".join(f"{r.getrandbits(4 * n):0{n}x}" for n in (8, 4, 4, 4, 12)),
            "pod": lambda r: f"cart-{r.getrandbits(36):09x}-{r.getrandbits(20):05x}",
            "iplist": lambda r: " ".join(["10.0.0.1:50010"] * r.randrange(1, 4)),
            "userlist": lambda r: ",".join(r.sample(self._choices["user"], r.randrange(1, 3))),
        }  # fmt: skip

    def __missing__(self, name: str) -> str:
        if name in self._drawn:
            return self._drawn[name](self._rng)
        return self._rng.choice(self._choices[name])


def formats(lines: int, seed: int) -> Corpus:
    """Lines of well-known programs, `lines` of each."""
    programs: dict[str, list[tuple[float, str]]] = {}
    for line in (HERE / "log_formats.txt").read_text("utf-8").splitlines():
        if line.startswith("["):
            entries = programs.setdefault(line.strip("[]"), [])
        elif line and not line.startswith("#"):
            weight, text = line.split(" ", 1)
            entries.append((float(weight), text))
    found = {}
    for program, entries in programs.items():
        rng = Random(f"{program}/{seed}")  # noqa: S311  lines, not secrets
        words = Words(rng)
        weights = [weight for weight, _ in entries]
        drawn = rng.choices(range(len(entries)), weights, k=lines)
        bodies = [entries[at][1].format_map(words) for at in drawn]
        found[program] = bodies, [str(at) for at in drawn]
    return found


def grouping_accuracy(found: Sequence[int], truth: Sequence[str]) -> float:
    """Share of lines whose group is exactly that of their template."""
    by_found: dict[int, list[int]] = defaultdict(list)
    by_truth: dict[str, list[int]] = defaultdict(list)
    for at, (group, template) in enumerate(zip(found, truth, strict=True)):
        by_found[group].append(at)
        by_truth[template].append(at)
    right = {tuple(group) for group in by_truth.values()}
    return sum(len(group) for group in by_found.values() if tuple(group) in right) / len(truth)


def groups(bodies: Sequence[str]) -> list[int]:
    """The template of each line by the product's miner; merged templates count as one."""
    state, line, count = LogState(), scratch(), len(bodies)
    state.entity(EntityId("bench"))
    batch = LogBatch.of_columns(
        (EntityId("bench"),), [0] * count, [0] * count, [body.encode() for body in bodies]
    )
    lines = Lines(
        data=np.frombuffer(batch.data, np.uint8),
        offset=batch.offset,
        entity=batch.entity,
        timestamp=batch.timestamp,
        severity=batch.severity,
        weight=batch.weight,
    )
    most = LogDetector().config.max_templates
    mined = room(count, most)
    became: dict[int, int] = {}
    done = 0
    while done < count:
        mined.merges[0] = 0
        done = take(state.store(), state.parameters(), line, lines, mined, (done, most))
        became |= dict(mined.absorbed[: int(mined.merges[0])].tolist())
        if done < count:
            state.grow(256)

    def final(serial: int) -> int:
        while serial in became:
            serial = became[serial]
        return serial

    return [final(serial) for serial in mined.serial.tolist()]


def speed(bodies: Sequence[str], repeat: int = 3) -> dict[str, float]:
    """Lines per second of CPU time, by the whole detector; best of some.

    `columns`: from a batch as the intake log holds it; `text`: encoded and put in columns first.
    """
    encoded = [body.encode() for body in bodies]
    entity, zeros = (EntityId("bench"),), [0] * len(bodies)
    batch = LogBatch.of_columns(entity, zeros, zeros, encoded)
    best = {"columns": 0.0, "text": 0.0}
    for _ in range(repeat + 1):  # the first compiles
        detector = LogDetector()
        start = time.process_time()
        detector.step(batch, NOON)
        middle = time.process_time()
        of_text = LogBatch.of_columns(entity, zeros, zeros, [body.encode() for body in bodies])
        detector.step(of_text, NOON)
        end = time.process_time()
        best["columns"] = max(best["columns"], len(bodies) / (middle - start))
        best["text"] = max(best["text"], len(bodies) / (end - middle))
    return best


def healthy(hours: float, seed: int) -> dict[str, float]:
    """What is found in the lines of a shop that nothing is wrong with, deployments included."""
    shop = world("shop", services=12, seed=0)
    simulation = Simulation(shop, seed=seed, step_seconds=10.0, start=NOON, changes_per_day=4.0)
    stream, detector = LogStream(simulation, seed=seed, most=150), LogDetector()
    count = 0
    for _ in range(round(hours * 360)):
        simulation.tick()
        step = detector.step(stream.lines(), simulation.now)
        count += sum(one.started for one in step.findings)
    weeks = len(detector.entities) * hours / 168
    return {"found": float(count), "entity_weeks": weeks, "per_entity_week": count / weeks}


def hostile(lines: int) -> Corpus:
    """Lines that are hard on parsers."""
    rng = Random(5)  # noqa: S311  lines, not secrets
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(rng.choices(letters, k=7)) for _ in range(50_000)]
    return {
        "every line new": ([" ".join(rng.choices(words, k=9)) for _ in range(lines)], []),
        "nested quantifier bait": (["a" * 1500 + "!" for _ in range(lines // 10)], []),
        "1 MB lines": (["x= " + "1," * 500_000 for _ in range(20)], []),
        "NUL and escapes": ([f"\x00\x1b[31m err \x00 {n}" for n in range(lines)], []),
    }


def peer(python: str, corpus: Corpus) -> list[dict[str, object]]:
    """Drain3 on the same lines, in a process of its own."""
    task = json.dumps([list(bodies) for bodies, _ in corpus.values()])
    done = subprocess.run(
        [python, str(PEER)], input=task, capture_output=True, text=True, check=True, timeout=3600
    )
    found: list[dict[str, object]] = json.loads(done.stdout)
    return found


def table(title: str, corpus: Corpus, python: str | None) -> dict[str, object]:
    """Accuracy of each system, and of Drain3 beside it."""
    ours = {
        name: grouping_accuracy(groups(bodies), truth) for name, (bodies, truth) in corpus.items()
    }
    theirs: dict[str, dict[str, float]] = {}
    rates: dict[str, list[float]] = defaultdict(list)
    for answer in peer(python, corpus) if python else ():
        kind = str(answer["kind"])
        found = answer["groups"]
        assert isinstance(found, list)
        theirs[kind] = {
            name: grouping_accuracy(group, truth)
            for group, (name, (_, truth)) in zip(found, corpus.items(), strict=True)
        }
        rates[kind].append(float(str(answer["lines_per_second"])))
    print(f"\n{title}: grouping accuracy")
    print(f"{'':<22} {'lines':>7} {'true':>5} {'DOS':>6}", *(f"{kind:>16}" for kind in theirs))
    for name, (bodies, truth) in corpus.items():
        beside = [f"{scores[name]:>16.3f}" for scores in theirs.values()]
        print(f"{name:<22} {len(bodies):>7} {len(set(truth)):>5} {ours[name]:>6.3f}", *beside)
    sizes = Counter({name: len(bodies) for name, (bodies, _) in corpus.items()})
    means = {"DOS": ours} | theirs
    for kind, scores in means.items():
        plain = sum(scores.values()) / len(scores)
        weighted = sum(scores[name] * sizes[name] for name in scores) / sizes.total()
        pace = f", {rates[kind][0]:,.0f} lines/s" if kind in rates else ""
        print(f"  {kind}: mean {plain:.3f}, by lines {weighted:.3f}{pace}")
    return {"accuracy": means, "lines_per_second": dict(rates)}


def main() -> None:
    """Run it all and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loghub", type=Path, help="folder with loghub's labelled samples")
    parser.add_argument("--drain", help="a Python that has drain3")
    parser.add_argument("--lines", type=int, default=50_000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--healthy", type=float, default=0.0, help="hours without a fault")
    asked = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")
    found: dict[str, object] = {}
    if asked.loghub is None:
        print("loghub: skipped, its samples are not shipped; give their folder with --loghub")
    else:
        found["loghub"] = table("loghub", loghub(asked.loghub), asked.drain)
    simulator, programs = simulated(asked.lines), formats(2000, seed=1)
    found["simulator"] = table("simulator", simulator, asked.drain)
    found["formats"] = table("formats of programs", programs, asked.drain)
    print("\nlines per second of CPU time, masks, parameters and rates included")
    speeds: dict[str, object] = {}
    mixed = {
        "simulator": [body for bodies, _ in simulator.values() for body in bodies],
        "formats": [body for bodies, _ in programs.values() for body in bodies],
    }
    for name, bodies in (mixed | {n: b for n, (b, _) in hostile(20_000).items()}).items():
        found_here = speed(list(bodies))
        speeds[name] = found_here
        size = sum(map(len, bodies)) / len(bodies)
        columns, text = found_here["columns"], found_here["text"]
        print(f"{name:<24} {size:>9,.0f} B/line {columns:>10,.0f} {text:>10,.0f} from text")
    found["lines_per_second"] = speeds
    if asked.healthy:
        found["healthy"] = healthy(asked.healthy, seed=31)
        print(f"\nhealthy shop, {asked.healthy:g} h: {found['healthy']}")
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
