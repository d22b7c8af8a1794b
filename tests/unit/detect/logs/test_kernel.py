"""The compiled loop is made of what the sources say now."""

from __future__ import annotations

from dos.detect.logs import kernel, mining, parameters, tokens
from dos.kit.compiled import digest


def test_the_kept_code_is_made_anew_when_its_parts_change() -> None:
    now = digest(tokens.__file__, mining.__file__, parameters.__file__)
    assert now == kernel.PARTS, f'write PARTS = "{now}" in {kernel.__file__}'
