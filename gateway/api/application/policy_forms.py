"""What do policies and the settings of users look like: one documented object each, made from the tables of rules."""

from typing import Any

from pydantic import BaseModel, ConfigDict, RootModel

from gateway.api.describing import Json
from gateway.rules import policy as policies
from gateway.rules.user_settings import PER_USER

_Values = dict[str, int | bool | str | list[Any] | dict[str, Any] | None]


def _property(name: str) -> Json:
    default = policies.to_json(policies.Policy())[name]
    if name in policies.BOUNDS:
        least, most, about = policies.BOUNDS[name]
        return {
            "type": "integer", "minimum": least, "maximum": most, "default": default, "description": about,
        }  # fmt: skip
    if name in policies.SWITCHES:
        return {"type": "boolean", "default": default, "description": policies.SWITCHES[name]}
    if name in policies.CHOICES:
        words, about = policies.CHOICES[name]
        return {"enum": [str(word) for word in words], "default": str(default), "description": about}
    _, form, about = policies.STRUCTURES[name]
    return {"description": f"{form}: {about}"}


def _describe_policy(schema: Json) -> None:
    names = [*policies.BOUNDS, *policies.SWITCHES, *policies.CHOICES, *policies.STRUCTURES]
    _describe(schema, {name: _property(name) for name in names})


def _describe_settings(schema: Json) -> None:
    # Without defaults: what is not named is as the policy has it.
    properties = {
        name: {word: told for word, told in _property(name).items() if word != "default"} for name in PER_USER
    }
    _describe(schema, properties)


def _describe(schema: Json, properties: dict[str, Json]) -> None:
    kept: Json = {word: schema[word] for word in ("title", "description") if word in schema}
    schema.clear()
    schema.update(kept, type="object", properties=properties, additionalProperties=False)


class PolicyValues(RootModel[_Values]):
    """Values of a policy by name."""

    model_config = ConfigDict(strict=True, json_schema_extra=_describe_policy)


class UserSettings(RootModel[_Values]):
    """What is decided for one user alone; everything else is as the policy has it."""

    model_config = ConfigDict(strict=True, json_schema_extra=_describe_settings)


class PutUserSettings(BaseModel):
    """All that is decided for the user alone from now on."""

    model_config = ConfigDict(extra="forbid", strict=True)

    settings: UserSettings


class PolicyVersionView(BaseModel):
    """A policy that is or was in force, with its version, and since when."""

    model_config = ConfigDict(extra="forbid")

    version: int
    since: str
    policy: PolicyValues


class PolicyVersionList(BaseModel):
    """A page of policies, oldest first; `next` is the `after` of the next page."""

    model_config = ConfigDict(extra="forbid")

    versions: list[PolicyVersionView]
    next: int | None
