"""The JSON Schema of the configuration, with the keys of every plugin type."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonRef, JsonSchemaValue
from pydantic_core import core_schema

from dos.app.section import PluginSection, secret_keys
from dos.app.settings import Settings
from dos.app.settings_keys import plugin_keys, source_docs


def json_schema() -> dict[str, Any]:
    """JSON Schema, draft 2020-12, for editors and for checks elsewhere."""
    schema = Settings.model_json_schema(schema_generator=_Generator)
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        **schema,
        "title": "Configuration of Dependency Ops Sentinel",
    }


class _Generator(GenerateJsonSchema):
    """Adds what pydantic cannot know: plugins' keys, `<key>_file`, descriptions in the source."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """The schema of one model."""
        model: type[BaseModel] = schema["cls"]
        result = super().model_schema(schema)
        properties = result.get("properties", {})
        for name, text in source_docs(model).items():
            if name in properties:
                properties[name].setdefault("description", " ".join(text.split()))
        for key in secret_keys(model):
            text = f"File that holds `{key}`, instead of `{key}` itself."
            properties[f"{key}_file"] = {"type": "string", "format": "path", "description": text}
        if issubclass(model, Settings):  # a section whose keys are all commented out is null
            for name, value in properties.items():
                properties[name] = {"anyOf": [value, {"type": "null"}]}
        if issubclass(model, PluginSection):
            return self._plugin_section(model, result)
        return result

    def _plugin_section(
        self, section: type[PluginSection], base: JsonSchemaValue
    ) -> JsonSchemaValue:
        """One alternative for each type: our keys and the plugin's side by side."""
        own = {key: value for key, value in base["properties"].items() if key != "config"}
        alternatives = []
        for plugin in plugin_keys(section.room, section.also):
            inner = self.generate_inner(plugin.config.__pydantic_core_schema__)
            if "$ref" in inner:
                inner = self.get_schema_from_definitions(JsonRef(inner["$ref"])) or inner
            kind = {**own["type"], "const": plugin.name}
            alternatives.append({
                "title": plugin.name,
                "type": "object",
                "description": plugin.description,
                "properties": {**own, "type": kind, **inner.get("properties", {})},
                "required": ["type", *inner.get("required", [])],
                "additionalProperties": False,
            })  # fmt: skip
        return {"title": base["title"], "description": base["description"], "oneOf": alternatives}
