"""YAML as DOS accepts it: places, refusals, and nothing that could crash it."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dos.kit.yaml_source import MAX_BYTES, DocumentError, Mark, format_location, parse, read


def problems(text: str | bytes) -> list[str]:
    data = text.encode() if isinstance(text, str) else text
    with pytest.raises(DocumentError) as caught:
        parse(data, "config.yaml")
    return [str(problem) for problem in caught.value.problems]


def test_every_key_and_value_has_its_place() -> None:
    document = parse(b"server:\n  port: 1\nsources:\n- type: push\n  x: [1, 2]\n", "config.yaml")
    assert document.value == {"server": {"port": 1}, "sources": [{"type": "push", "x": [1, 2]}]}
    assert document.keys["server", "port"] == Mark(line=2, column=3)
    assert document.values["server", "port"] == Mark(line=2, column=9)
    assert document.keys["sources", 0] == Mark(line=4, column=3)
    assert document.values["sources", 0, "x", 1] == Mark(line=5, column=10)


def test_words_mean_what_they_look_like() -> None:
    text = "a: no\nb: on\nc: 12:30\nd: 2026-01-01\ne: true\nf: 1e3\ng: ~\nh: '5'\ni: 0x1F\nj: .5"
    assert parse(text.encode(), "f").value == {
        "a": "no", "b": "on", "c": "12:30", "d": "2026-01-01", "e": True, "f": 1000.0, "g": None,
        "h": "5", "i": 31, "j": 0.5,
    }  # fmt: skip


@pytest.mark.parametrize("text", ["", "# nothing but words\n", "---\n", "{}"])
def test_an_empty_file_is_no_keys(text: str) -> None:
    assert parse(text.encode(), "f").value == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: &x 1\nb: 2", "config.yaml:1:4: anchors and aliases"),
        ("b: *x", "config.yaml:1:4: anchors and aliases"),
        ("a: 1\nb: 2\na: 3", "config.yaml:3:1: a: is written twice, first in line 1; keep one"),
        ("a:\n  b: 1\n  b: 2", "config.yaml:3:3: a.b: is written twice, first in line 2"),
        ("- a\n- b", "config.yaml:1:1: must be keys and values"),
        ("a: !!python/object:os.system x", "config.yaml:1:4: a: the tag"),
        ("a: !x {b: 1}", "config.yaml:1:4: a: the tag '!x' is not accepted"),
        ("a: 1\n---\nb: 2", "config.yaml:2:1: "),
        ("? [a]\n: b", "config.yaml:1:3: a key must be a word"),
        ("a: [1,", "config.yaml:1:7: "),
        ("k: v\n bad: 1", "config.yaml:2:5: mapping values are not allowed here"),
        ("a:\tb\n\tc: d", "config.yaml:"),
        ("a: " + "[" * 100, "config.yaml:1:35: is nested deeper than 32 levels"),
        ("a: \x07", "config.yaml: is not YAML: unacceptable character"),
        (b"a: 1\nb: \xff", "config.yaml:2:4: is not UTF-8 text"),
        (b"a: " + b"x" * MAX_BYTES, "config.yaml: is larger than 1 MiB"),
        ("a: " + "9" * 5000, "config.yaml:1:4: a: '9999"),
    ],
)
def test_what_is_refused_and_where(text: str | bytes, expected: str) -> None:
    assert any(problem.startswith(expected) for problem in problems(text)), problems(text)


def test_all_duplicates_are_named_at_once() -> None:
    assert len(problems("a: 1\na: 2\nb: {c: 1, c: 2}")) == 2


def test_a_bomb_of_aliases_is_refused_before_it_expands() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert "anchors and aliases" in problems("\n".join(lines))[0]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=r"none\.yaml: cannot be read: No such file"):
        read(tmp_path / "none.yaml")
    with pytest.raises(DocumentError, match=r"cannot be read: Is a directory"):
        read(tmp_path)


def test_a_byte_order_mark_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read(tmp_path / "c.yaml").value == {"a": 1}


def test_locations_read_like_paths() -> None:
    assert format_location(("sources", 0, "step")) == "sources[0].step"
    assert (
        format_location(("impact", "weights", "shop/cart db")) == "impact.weights['shop/cart db']"
    )


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_parser(data: bytes) -> None:
    with contextlib.suppress(DocumentError):
        parse(data, "f")


WORDS = st.text(st.characters(max_codepoint=0x1FFF, exclude_categories=["Cc"]), max_size=10)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(WORDS, JSON, max_size=5))
def test_json_means_the_same(value: dict[str, object]) -> None:
    assert parse(json.dumps(value, ensure_ascii=False).encode(), "f").value == value
