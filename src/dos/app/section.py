"""What a part of the configuration is, and a part whose keys depend on a plugin's `type`.

Validators here and in `settings` report a mistake at the key that is wrong, not at the section
around it: they raise a `ValidationError` of their own, whose locations pydantic puts below the
place where it was raised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, ClassVar, Self, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    SerializeAsAny,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError
from pydantic_core.core_schema import ErrorType

from dos.kit import plugins
from dos.kit.errors import ConfigError
from dos.kit.secret import Secret


class Section(BaseModel):
    """A part of the configuration: unknown keys are mistakes, and nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _read_secrets(cls, raw: object) -> object:
        return read_secret_files(cls, raw)


class PluginSection(Section):
    """A part whose keys depend on its `type`: those of the plugin's `Config`, beside our own."""

    room: ClassVar[str]
    """Package that holds the plugins."""
    also: ClassVar[Mapping[str, str]] = {}
    """Plugins that live elsewhere in the house: type and module."""

    type: str
    config: SerializeAsAny[BaseModel]
    """The plugin's own keys, validated; in the file they stand beside `type`."""

    @classmethod
    def own_keys(cls) -> list[str]:
        """The keys that are not the plugin's."""
        return [key for key in cls.model_fields if key != "config"]

    @classmethod
    def plugin(cls, kind: str) -> plugins.Plugin[BaseModel, Any]:
        """The plugin of that type.

        Raises:
            ConfigError: There is none, or a package it needs is not installed.
        """
        return plugins.load(cls.room, kind, cls.also)

    def build(self, **context: object) -> Any:
        """The plugin's object, built from its keys and the room's context."""
        return self.plugin(self.type).build(self.config, **context)

    @model_validator(mode="wrap")
    @classmethod
    def _split(cls, raw: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(raw, dict) or isinstance(raw.get("config"), BaseModel):
            return handler(raw)
        own = {key: raw[key] for key in cls.own_keys() if key in raw}
        rest = {key: value for key, value in raw.items() if key not in own}
        kind = raw.get("type")
        if not isinstance(kind, str):
            return handler({**own, "config": Section()})  # refuses `type` in pydantic's words
        if "name" in cls.model_fields:
            own.setdefault("name", kind)
        refused: list[ValidationError] = []
        config: BaseModel = Section()
        try:
            config = cls._own_config(kind, rest)
        except ValidationError as error:
            refused.append(error)
        try:
            section = handler({**own, "config": config})
        except ValidationError as error:
            raise merged(cls.__name__, [error, *refused]) from error
        if refused:
            raise refused[0]
        return section

    @classmethod
    def _own_config(cls, kind: str, keys: Mapping[str, object]) -> BaseModel:
        try:
            plugin = cls.plugin(kind)
        except ConfigError as error:
            refused = plugin_refusal(error, plugins.names(cls.room, cls.also))
            raise located(cls.__name__, ("type",), refused, kind) from error
        return plugin.config.model_validate(read_secret_files(plugin.config, keys))

    @model_serializer(mode="plain")
    def _join(self) -> dict[str, object]:
        own = {key: getattr(self, key) for key in self.own_keys()}
        return {**own, **self.config.model_dump(mode="json")}


def secret_keys(model: type[BaseModel]) -> list[str]:
    """Keys of `model` whose value can be kept in a file, named by `<key>_file` instead."""
    return [
        key
        for key, field in model.model_fields.items()
        if Secret in (field.annotation, *_alternatives(field.annotation))
        and f"{key}_file" not in model.model_fields
    ]


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    """The members of a union; of anything else none."""
    return get_args(annotation) if get_origin(annotation) in {Union, UnionType} else ()


def read_secret_files(model: type[BaseModel], raw: Any) -> Any:
    """`raw` with each `<key>_file` of a secret replaced by `<key>` and what the file holds.

    Raises:
        ValidationError: A file cannot be read or is empty, or both keys are set.
    """
    if not isinstance(raw, dict):
        return raw
    result = dict(raw)
    for key in secret_keys(model):
        name = f"{key}_file"
        path = result.pop(name, None)
        if path is None:
            continue
        if result.get(key) is not None:
            reason = f"{key} and {name} are both set; keep one of them"
        else:
            try:
                result[key] = Path(str(path)).read_text("utf-8").strip()
                reason = "" if result[key] else f"{path} is empty; it must hold the secret"
            except (OSError, ValueError) as error:
                cause = getattr(error, "strerror", None) or "it is not UTF-8 text"
                reason = f"{path} cannot be read: {cause}"
        if reason:
            problem = PydanticCustomError("secret_file", "{reason}", {"reason": reason})
            raise located(model.__name__, (name,), problem, path)
    return result


def refuse_repeats(names: Sequence[str], noun: str) -> None:
    """Check that names are unique.

    Raises:
        ValidationError: At the `name` of the first item whose name was taken before.
    """
    first: dict[str, int] = {}
    for index, name in enumerate(names):
        if name in first:
            problem = PydanticCustomError(
                "repeated_name",
                "{noun} {name} exists already (item {first}); give this one a `name` of its own",
                {"noun": noun, "name": repr(name), "first": first[name] + 1},
            )
            raise located("Settings", (index, "name"), problem, name)
        first[name] = index


def located(
    title: str, location: tuple[str | int, ...], problem: PydanticCustomError, given: object
) -> ValidationError:
    """An error that pydantic reports at `location` below the place where it is raised."""
    details = InitErrorDetails(type=problem, loc=location, input=given)
    return ValidationError.from_exception_data(title, [details])


def merged(title: str, errors: Sequence[ValidationError]) -> ValidationError:
    """One error with everything that is in `errors`."""
    found = [one for error in errors for one in error.errors(include_url=False)]
    details: list[InitErrorDetails] = []
    for one in found:
        kind, context = one["type"], one.get("ctx", {})
        problem: str | PydanticCustomError = kind
        if kind not in _PYDANTIC_TYPES:  # one of ours
            context = {"reason": one["msg"], **context}
            problem = PydanticCustomError(
                kind,  # pyright: ignore[reportArgumentType]  a literal where it was first made
                "{reason}",
                context,
            )
        details.append(
            InitErrorDetails(type=problem, loc=one["loc"], input=one["input"], ctx=context)
        )
    return ValidationError.from_exception_data(title, details)


_PYDANTIC_TYPES = frozenset(get_args(ErrorType))


def plugin_refusal(error: ConfigError, known: Sequence[str]) -> PydanticCustomError:
    """Why a `type` was refused, with the types there are."""
    context = {"reason": str(error), "known": list(known)}
    return PydanticCustomError("plugin_type", "{reason}", context)


def validate_keys(config: type[BaseModel], keys: Mapping[str, object]) -> None:
    """Check a plugin's keys where the room keeps them as plain values.

    Raises:
        ValidationError: With a location below that of `keys`.
    """
    known = list(config.model_fields)
    for key in keys:
        if key not in known:
            context = {"known": known}
            problem = PydanticCustomError("unknown_key", "unknown key", context)
            raise located(config.__name__, (key,), problem, keys[key])
    config.model_validate(keys)
