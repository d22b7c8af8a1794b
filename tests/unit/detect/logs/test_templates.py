"""Which lines are of one template, and that no line can do harm."""

from __future__ import annotations

import time

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from dos.detect.logs.config import LogsConfig
from dos.detect.logs.detector import LogDetector
from dos.detect.logs.mining import FAMILY
from dos.detect.logs.tokens import MAX_BYTES
from dos.model.ids import EntityId
from dos.model.logs import LogBatch
from tests.unit.detect.logs.drawn import at, batch, line


def texts(*bodies: str | bytes, config: LogsConfig | None = None) -> list[str]:
    detector = LogDetector(config)
    detector.step(batch(*bodies), at(0))
    return [one.text for one in detector.templates()]


@pytest.mark.parametrize(
    ("bodies", "expected"),
    [
        (["took 12 ms", "took 7 ms", "took 1.5 ms"], ["took <*>"]),
        (["from 10.0.0.1:80 to fe80::1", "from 10.9.9.9:8080 to fe80::2"], ["from <*> to <*>"]),
        (["open /etc/passwd failed", "open /var/x/y failed"], ["open <*> failed"]),
        (["mail to a@example.com", "mail to b.c@example.org"], ["mail to <*>"]),
        (["id=7f3a9 done", "id=00b2c done"], ["id=<*> done"]),
        (["status:200 ok", "status:404 ok"], ["status:<*> ok"]),
        (["[gc] 12M->3M", "[gc] 9M->2M"], ["[gc] <*>-><*>"]),
        (["peers 1, 2, 3 up", "peers 1 up", "peers 4, 5 up"], ["peers <*> up"]),
        (["of n1 n2 n3 lost", "of n7 lost"], ["of <*> lost"]),
        (["GET /a/b 200 12 7", "GET /c/d 404 9 1"], ["GET <*> <*> <*> <*>"]),
        (["size 3.5 MB free", "size 12 KiB free"], ["size <*> free"]),
        (["a\x00b", "a b"], ["a\N{REPLACEMENT CHARACTER}b"]),
        (["", "...", "  "], [""]),
        (["first\n\tat x.y", "first\n\tat z"], ["first"]),
    ],
)
def test_what_varies_by_its_looks(bodies: list[str], expected: list[str]) -> None:
    assert texts(*bodies) == expected


def test_plain_words_say_what_happened() -> None:
    assert len(texts("session opened for root", "session closed for root")) == 2
    assert len(texts("GET of cart done", "PUT of cart done")) == 2


def test_names_vary() -> None:
    found = texts("retrying call to cart-db now", "retrying call to user-service now")
    assert found == ["retrying call to <*> now"]
    assert texts("login user=root ok then", "login user=bob ok then") == ["login user=<*> ok then"]


def test_a_word_with_many_values_is_a_variable() -> None:
    names = ["alice", "bob", "carol", "dave", "eve"]
    bodies = [f"session opened for {name} again" for name in names]
    assert len(texts(*bodies[: FAMILY - 1])) == FAMILY - 1
    detector = LogDetector()
    detector.step(batch(*bodies), at(0))
    (one,) = detector.templates()
    assert one.text == "session opened for <*> again"
    assert one.count == len(names)
    assert one.serial == 1, "it is the first of those that were merged"


def test_the_number_of_words_matters() -> None:
    assert len(texts("connection closed", "connection closed by peer")) == 2


def test_entities_have_templates_of_their_own() -> None:
    detector = LogDetector()
    lines = [line("up", entity=EntityId(name)) for name in ("a", "b", "a")]
    detector.step(LogBatch.of(lines), at(0))
    assert [(one.entity, one.count) for one in detector.templates()] == [("a", 2), ("b", 1)]


def test_templates_are_bounded_and_the_used_ones_stay() -> None:
    detector = LogDetector(LogsConfig(max_templates=10))
    for number in range(300):
        word = "".join(chr(97 + int(digit)) for digit in str(number))
        detector.step(batch("a heartbeat came in", f"{word * 3} {word} x{word}x"), at(number / 10))
    found = detector.templates()
    assert len(found) == 10
    assert ("a heartbeat came in", 300) in [(one.text, one.count) for one in found]
    assert detector.nbytes < 2_000_000


def test_entities_are_bounded() -> None:
    detector = LogDetector(LogsConfig(max_entities=3))
    lines = [line("up", entity=EntityId(f"e{number}")) for number in range(5)]
    detector.step(LogBatch.of(lines), at(0))
    assert detector.entities == ("e0", "e1", "e2")
    assert detector.refused == 2
    detector.step(LogBatch.of(lines), at(1))
    assert {one.count for one in detector.templates()} == {2}


HOSTILE = [
    b"\x00" * 1000,
    b"\xff\xfe\xfd broken \xc3\x28 utf-8",
    b"x" * 1_000_000,
    b"1," * 500_000,
    b"a" * 5000 + b"!",
    b"((((((((((" * 500,
    b"\x1b[31mred\x1b[0m \r\n\x07",
    "".join(chr(0x202E) for _ in range(100)).encode(),
    b"%s%s%n {0.__class__} {{}}",
    b"-" * 3000 + b"1" * 3000,
    b"." * 4000,
    b"999999999999999999999999999 1e999 -0 +.5 0x -",
]


@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_lines(body: bytes) -> None:
    detector = LogDetector()
    detector.step(batch(body, b"fine 1", body, b"fine 2"), at(0))
    found = detector.templates()
    assert ("fine <*>", 2) in [(one.text, one.count) for one in found]
    for one in found:
        assert one.text.isprintable()
        assert len(one.text) < 600


@pytest.mark.serial
def test_the_cost_of_a_long_line_is_bounded() -> None:
    def seconds(body: bytes) -> float:
        many = batch(*[body] * 300)
        LogDetector().step(many, at(0))
        best = float("inf")
        for _ in range(5):
            detector = LogDetector()
            start = time.perf_counter()
            detector.step(many, at(0))
            best = min(best, time.perf_counter() - start)
        return best

    cut, long = seconds(b"a" * MAX_BYTES), seconds(b"a" * (20 * MAX_BYTES))
    assert long < 3 * cut


QUICK = (Phase.explicit, Phase.reuse, Phase.generate)
"""Without shrinking: an example takes a while, and is short as it is."""
words = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    ["GET", "took", "cart-db", "/x/y", "17", "0x1f", "=", "user=bob", "ms", "[a]", ""]
)
bodies = st.lists(words, max_size=8).map(" ".join)


@settings(max_examples=60, deadline=None, phases=QUICK)
@given(st.lists(bodies, min_size=1, max_size=60), st.integers(1, 20), st.integers(0, 60))
def test_one_at_a_time_in_batches_and_after_a_restore_alike(
    lines: list[str], size: int, stop: int
) -> None:
    config = LogsConfig(max_templates=12)
    whole, parts = LogDetector(config), LogDetector(config)
    whole.step(batch(*lines), at(0))
    for start in range(0, len(lines), size):
        if start >= stop:
            restored = LogDetector(config)
            restored.load(parts.dump())
            parts = restored
        parts.step(batch(*lines[start : start + size]), at(0))
    assert parts.dump() == whole.dump()
    assert parts.templates() == whole.templates()
    assert sum(one.count for one in whole.templates()) <= len(lines)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=300), min_size=1, max_size=20))
def test_any_bytes(lines: list[bytes]) -> None:
    detector = LogDetector()
    detector.step(batch(*lines), at(0))
    assert sum(one.count for one in detector.templates()) == len(lines)
