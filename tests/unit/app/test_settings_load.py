"""From files and variables to settings, and every mistake with its place and remedy."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dos.app import settings_load
from dos.app.settings import Settings
from dos.app.settings_load import SettingsError, find, load, validate
from dos.kit.errors import ConfigError
from dos.kit.secret import Secret
from dos.kit.yaml_source import Document, parse


def settings(text: str, env: Mapping[str, str] | None = None) -> Settings:
    return validate(parse(text.encode(), "config.yaml"), env or {})


def problems(text: str, env: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        settings(text, env)
    return [str(problem) for problem in caught.value.problems]


def test_with_no_file_there_are_sensible_defaults() -> None:
    made = settings("")
    assert made == Settings()
    assert [source.type for source in made.sources] == ["push"]
    assert [receiver.type for receiver in made.alerting.receivers] == ["console"]
    assert (made.server.host, made.server.port) == ("127.0.0.1", 8000)
    assert made.storage_url == "sqlite+aiosqlite:///data/dos.db"


def test_a_section_with_all_keys_commented_out_is_the_default() -> None:
    assert settings("server:\nlog:\nsources:\nalerting:\n") == Settings()


def test_plugins_get_their_own_keys_validated() -> None:
    made = settings(
        "sources: [{type: prometheus, url: 'http://p:9090', step: 5s}, {type: simulator, seed: 3}]"
    )
    assert [source.name for source in made.sources] == ["prometheus", "simulator"]
    assert made.sources[0].config.model_dump()["step"] == 5.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "sources:\n  - type: prometheus\n    url: http://p:9090\n    setp: 5s",
            "config.yaml:4:5: sources[0].setp: unknown key; did you mean 'step'? (keys: ",
        ),
        (
            "sources:\n  - type: prometeus",
            "config.yaml:2:11: sources[0].type: 'prometeus' is not known; did you mean",
        ),
        (
            "sources: [{type: prometheus}]",
            "config.yaml:1:11: sources[0].url: is missing; base URL",
        ),
        ("sources: [{url: x}]", "config.yaml:1:11: sources[0].type: is missing; kind of source"),
        ("sources: {type: push}", "config.yaml:1:10: sources: must be a list"),
        ("sources: [push]", "config.yaml:1:11: sources[0]: 'push' is not keys and values"),
        (
            "sources: [{type: push}, {type: push}]",
            "config.yaml:1:25: sources[1].name: source 'push' exists already (item 1); give",
        ),
        (
            "alerting: {receivers: [{type: console}, {type: webhook, name: console, url: http://a}]}",
            "config.yaml:1:63: alerting.receivers[1].name: receiver 'console' exists already",
        ),
        (
            "datadir: x",
            "config.yaml:1:1: datadir: unknown key; did you mean 'data_dir'? (keys: data_dir, ",
        ),
        (
            "history:\n  resolution: 5 minutes",
            "config.yaml:2:15: history.resolution: '5 minutes' is not a duration; write for",
        ),
        (
            "history: {resolution: 1m, retention: 30s}",
            "config.yaml:1:10: history: retention must be at least as long as resolution",
        ),
        ("server: {port: abc}", "config.yaml:1:16: server.port: 'abc' is not a whole number"),
        (
            "server: {port: 70000}",
            "config.yaml:1:16: server.port: 70000 is out of range: must be less than or",
        ),
        (
            "log: {level: inf}",
            "config.yaml:1:14: log.level: 'inf' is not known; did you mean 'info'? (allowed: debug",
        ),
        ("log: 3", "config.yaml:1:6: log: 3 is not keys and values"),
        (
            "detect: {detector: seasonal}",
            "config.yaml:1:20: detect.detector: 'seasonal' is not known; did you mean",
        ),
        (
            "detect: {parameters: {warmup: 3}}",
            "config.yaml:1:23: detect.parameters.warmup: unknown key; did you mean 'warm_up'?",
        ),
        (
            "detect: {parameters: {warm_up: x}}",
            "config.yaml:1:32: detect.parameters.warm_up: 'x' is not a whole number",
        ),
        (
            "rca: {ranker: {type: statistical, weights: {oter: 1}}}",
            "config.yaml:1:45: rca.ranker.weights.oter: unknown key; did you mean 'other'?",
        ),
        (
            "topology: {declared: [{caller: a, calle: b}]}",
            "config.yaml:1:23: topology.declared[0].callee: is missing; who is used",
        ),
        (
            "server: {token: a, token_file: b}",
            "config.yaml:1:32: server.token_file: token and token_file are both set; keep one",
        ),
    ],
)
def test_a_mistake_is_named_with_place_and_remedy(text: str, expected: str) -> None:
    found = problems(text)
    assert any(problem.startswith(expected) for problem in found), found


def test_every_mistake_is_found_at_once_in_the_order_of_the_file() -> None:
    text = (
        "server: {prot: 1}\nlog: {level: x}\nalerting:\n  receivers:\n"
        "    - {type: webhook, min_severity: high, tmeout: 3, url: 'http://a'}\n"
        "    - {type: pager}\n"
    )
    places = [problem.split(": ")[1] for problem in problems(text)]
    assert places == [
        "server.prot",
        "log.level",
        "alerting.receivers[0].min_severity",
        "alerting.receivers[0].tmeout",
        "alerting.receivers[1].type",
    ]


def test_several_problems_are_one_error_with_a_heading() -> None:
    with pytest.raises(ConfigError, match=r"^the configuration has 2 problems:\nconfig\.yaml:1:2"):
        settings("{a: 1, b: 2}")


class TestEnvironment:
    def test_overrides_by_name(self) -> None:
        made = settings(
            "server: {port: 1}",
            {
                "DOS_SERVER__PORT": "9000",
                "DOS_HISTORY__SEGMENTS__ENABLED": "false",
                "DOS_HISTORY__RETENTION": "3h",
                "DOS_DATA_DIR": "/tmp/d",
            },
        )
        assert made.server.port == 9000
        assert made.history.segments.enabled is False
        assert made.history.retention == 3 * 3600
        assert made.data_dir == Path("/tmp/d")

    def test_lists_by_index_and_by_json(self) -> None:
        made = settings(
            "sources: [{type: simulator}]",
            {"DOS_SOURCES__0__SEED": "5", "DOS_SOURCES__1": '{"type": "push"}'},
        )
        assert [source.type for source in made.sources] == ["simulator", "push"]
        assert made.sources[0].config.model_dump()["seed"] == 5
        whole = settings("", {"DOS_SOURCES": '[{"type":"simulator"}]', "DOS_SOURCES__0__SEED": "9"})
        assert whole.sources[0].config.model_dump()["seed"] == 9

    def test_null_takes_a_value_away(self) -> None:
        assert settings("storage: {url: x}", {"DOS_STORAGE__URL": "null"}).storage.url is None

    def test_a_token_of_digits_stays_text_and_nothing_is_interpolated(self) -> None:
        made = settings("data_dir: '${HOME}/d'", {"DOS_SERVER__TOKEN": "12345", "HOME": "/h"})
        assert made.server.token == Secret("12345")
        assert made.data_dir == Path("${HOME}/d")

    def test_what_kubernetes_sets_for_a_service_called_dos_is_not_ours(self) -> None:
        env = {"DOS_PORT": "tcp://10.0.0.1:80", "DOS_SERVICE_HOST": "10.0.0.1"}
        assert settings("", env) == Settings()

    @pytest.mark.parametrize(
        ("name", "value", "expected"),
        [
            ("DOS_SERVER__PORT", "x", "server.port: 'x' is not a whole number"),
            ("DOS_SEVER__PORT", "1", "sever: unknown key; did you mean 'server'?"),
            ("DOS_SERVER__PROT", "1", "server.prot: unknown key; did you mean 'port'?"),
            ("DOS_SOURCES", "[1", "begins like JSON but is not: Expecting ',' delimiter"),
            ("DOS_SOURCES__3__TYPE", "push", "'3' is not an index from 0 to 0"),
        ],
    )
    def test_a_mistake_names_the_variable(self, name: str, value: str, expected: str) -> None:
        text = "sources: []"
        found = problems(text, {name: value})
        assert [one for one in found if f"environment variable {name}: {expected}" in one], found

    def test_a_mistake_in_the_file_beside_a_variable_names_the_file(self) -> None:
        found = problems("server:\n  port: x", {"DOS_SERVER__HOST": "::1"})
        assert found == ["config.yaml:2:9: server.port: 'x' is not a whole number"]


class TestSecrets:
    def test_come_from_files(self, tmp_path: Path) -> None:
        (tmp_path / "t").write_text("s3cret\n")
        made = settings(
            f"server: {{token_file: {tmp_path}/t}}\n"
            f"alerting: {{receivers: [{{type: webhook, url: 'http://a', "
            f"signing_secret_file: {tmp_path}/t}}]}}"
        )
        assert made.server.token == Secret("s3cret")
        assert made.alerting.receivers[0].config.model_dump()["signing_secret"] == Secret("s3cret")
        assert "s3cret" not in repr(made)
        assert "s3cret" not in made.model_dump_json()

    def test_a_file_that_does_not_help_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "empty").write_text("\n")
        (tmp_path / "binary").write_bytes(b"\xff\xfe")
        for name, expected in (
            ("none", "cannot be read: No such file or directory"),
            ("empty", "is empty; it must hold the secret"),
            ("binary", "cannot be read: it is not UTF-8 text"),
        ):
            found = problems(f"server: {{token_file: {tmp_path / name}}}")
            assert found == [
                f"config.yaml:1:22: server.token_file: {tmp_path / name} {expected}"
            ], found


class TestFind:
    def test_the_option_then_the_variable_then_the_working_directory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert find(None, {}) is None
        (tmp_path / "config.yaml").write_text("log: {level: debug}")
        assert find(None, {}) == Path("config.yaml")
        assert find(None, {"DOS_CONFIG": "b.yaml"}) == Path("b.yaml")
        assert find(Path("a.yaml"), {"DOS_CONFIG": "b.yaml"}) == Path("a.yaml")
        assert load(None, {}).settings.log.level == "debug"

    def test_a_file_that_was_named_must_exist(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match=r"none\.yaml: cannot be read"):
            load(None, {"DOS_CONFIG": str(tmp_path / "none.yaml")})

    def test_no_file_says_so(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        loaded = settings_load.load(None, {})
        assert loaded.path is None
        assert loaded.settings == Settings()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "name", "url", "receivers", "declared", "x"]), inner
        )
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from([*Settings.model_fields, "surprise"]),
        VALUES | st.fixed_dictionaries({"ranker": VALUES, "threshold": VALUES}),
        max_size=4,
    )
)
def test_any_data_is_either_settings_or_problems(value: dict[str, object]) -> None:
    document = Document(source="config.yaml", value=value)  # type: ignore[arg-type]
    with contextlib.suppress(SettingsError):
        validate(document, {})
