"""What a part of the configuration is, and a part whose keys depend on a plugin's `type`.

Validators here and in `settings` report a mistake at the key that is wrong, not at the section
around it: they raise a `ValidationError` of their own, whose locations pydantic puts below the
place where it was raised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializeAsAny,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from dos.kit import plugins
from dos.kit.errors import ConfigError


class Section(BaseModel):
    """A part of the configuration: unknown keys are mistakes, and nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


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

    @model_validator(mode="before")
    @classmethod
    def _split(cls, raw: object) -> object:
        if not isinstance(raw, dict) or isinstance(raw.get("config"), BaseModel):
            return raw
        kind = raw.get("type")
        if not isinstance(kind, str):
            return {**raw, "config": Section()}  # pydantic's own message about `type` follows
        try:
            plugin = cls.plugin(kind)
        except ConfigError as error:
            refused = plugin_refusal(error, plugins.names(cls.room, cls.also))
            raise located(cls.__name__, ("type",), refused, kind) from error
        own = {key: raw[key] for key in cls.own_keys() if key in raw}
        rest = {key: value for key, value in raw.items() if key not in own}
        return {**own, "config": plugin.config.model_validate(rest)}

    @model_serializer(mode="plain")
    def _join(self) -> dict[str, object]:
        own = {key: getattr(self, key) for key in self.own_keys()}
        return {**own, **self.config.model_dump(mode="json")}


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
