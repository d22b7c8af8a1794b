"""What the documentation tells people to type exists."""

from __future__ import annotations

import re
import shlex
from pathlib import PurePath
from urllib.parse import urlsplit

import pytest
import typer
from typer.core import TyperCommand, TyperGroup
from typer.testing import CliRunner

from dos.api.app import app as api
from dos.cli.main import app
from tests.docs.pages import PAGES, ROOT, blocks, commands, name, prose

ROUTES = [
    re.compile(re.sub(r"\\\{[^}]*\\\}", ".+", re.escape(path)) + "$")
    for path in [*api.openapi()["paths"], "/docs", "/openapi.json"]
]
SHOWN = list(commands())
INLINE = [
    (name(page), shlex.split(code))
    for page in PAGES
    for code in re.findall(r"`(dos [a-z][^`…]*)`", prose(page))
]
DOS = [(page, words[1:]) for page, words in SHOWN if PurePath(words[0]).name == "dos"]
DOS += [(page, words[1:]) for page, words in INLINE]


def invoked(words: list[str]) -> tuple[list[str], TyperCommand | TyperGroup, list[str]]:
    """The names, the command and the arguments of a `dos` command line."""
    command = typer.main.get_command(app)
    path: list[str] = []
    rest = list(words)
    while isinstance(command, TyperGroup) and rest and rest[0] in command.commands:
        path.append(rest.pop(0))
        command = command.commands[path[-1]]
    assert isinstance(command, TyperCommand | TyperGroup)
    return path, command, rest


@pytest.mark.parametrize(("page", "words"), DOS, ids=lambda value: str(value)[:60])
def test_dos_commands_exist(page: str, words: list[str]) -> None:
    path, command, rest = invoked(words)
    known = {option for parameter in command.params for option in parameter.opts}
    known |= {option for parameter in command.params for option in parameter.secondary_opts}
    known |= {"--help", "-h"}
    unknown = [word for word in rest if word.startswith("-") and word.split("=")[0] not in known]
    assert not unknown, f"{page}: dos {' '.join(words)}"
    if isinstance(command, TyperGroup) and rest:
        assert rest[0].startswith("-"), f"{page}: there is no command {rest[0]!r}"
    answer = CliRunner().invoke(app, [*path, "--help"])
    assert answer.exit_code == 0, answer.output


def test_there_are_commands_to_check() -> None:
    shown = {words[0] for _, words in DOS if words}
    assert {"serve", "demo", "replay", "check-config", "config", "simulate"} <= shown


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    shown = {words[1] for _, words in SHOWN if words[0] == "make" and len(words) > 1}
    for page in PAGES:
        for line in re.findall(r"`make ([^`]+)`", prose(page)):
            shown |= {word for word in line.split() if "=" not in word}
    assert {"demo", "test"} <= shown
    assert shown <= targets


def test_the_readme_begins_with_the_two_commands() -> None:
    shell = [block.text for block in blocks("bash") if block.page == "README.md"]
    assert shell[0].splitlines()[-1] == "make demo"
    assert shell[1].strip() == "make test"


def test_addresses_given_to_curl_exist() -> None:
    paths = {
        (page, urlsplit(word if "://" in word else f"http://{word}").path)
        for page, words in SHOWN
        if words[0] == "curl"
        for word in words[1:]
        if re.match(r"(http://)?(localhost|127\.0\.0\.1):8000", word)
    }
    assert len(paths) > 5
    unknown = [
        (page, path) for page, path in paths if not any(route.match(path) for route in ROUTES)
    ]
    assert not unknown


def test_scripts_that_are_named_exist() -> None:
    shown = {
        word
        for page in PAGES
        for word in re.findall(
            r"python ((?:benchmarks|docs|simulations)/\S+?\.py)", page.read_text()
        )
    }
    assert shown
    assert not [word for word in shown if not (ROOT / word).is_file()]


def test_the_loop_in_the_readme_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (block,) = [block for block in blocks("python") if block.page == "README.md"]
    rounds = iter(range(50))

    def sleep(_: float) -> None:
        if next(rounds, None) is None:
            raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", sleep)
    with pytest.raises(KeyboardInterrupt):
        exec(compile(block.text, "README.md", "exec"), {})
    shown = capsys.readouterr().out
    assert len(re.findall(r"^CPU=\d+% Errors=[\d.]+%$", shown, re.MULTILINE)) == 51
    assert " detected in payment-service" in shown
