"""Which content may a phone make by itself to authenticate its user: rules of the application, each with a time."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

RULES_MOST = 16
TEMPLATE_BYTES = 1000
PLACEHOLDERS = {
    "time": "the moment to the second; it must lie within the steps that are accepted",
    "step": "the first moment of the step that the proofs name, so that both sides know it beforehand",
    "user": "the id of the user",
}
_TIMES = {"time", "step"}  # one of them has to be there, or old content would serve for ever
_FORM = "%Y-%m-%dT%H:%M:%SZ"
_MOMENT = r"(?P<moment>[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)"
_PLACE = re.compile(r"\{([a-z_]+)\}")
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_MEDIA_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,60}/[a-z0-9!#$&^_.+-]{1,60}(; ?[ -~]{1,60})?")
_MEMBERS = {"name", "media_type", "template"}


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthenticationRule:
    """One form of content: a text with places for a time and the user, under a media type."""

    name: str
    media_type: str
    template: str

    @property
    def is_known_beforehand(self) -> bool:
        """Say whether both sides can write the content for a step without having told each other anything."""
        return "{time}" not in self.template

    def write(self, user: str, moment: datetime) -> bytes:
        """Return the content for a user and a moment, which is the first of a step where the rule says `{step}`."""
        text = moment.astimezone(UTC).strftime(_FORM)
        values = {"time": text, "step": text, "user": user}
        return _PLACE.sub(lambda found: values[found[1]], self.template).encode()


@dataclass(frozen=True, slots=True)
class Match:
    """Content that follows a rule, and the moment it names."""

    rule: AuthenticationRule
    moment: datetime

    def is_timely(self, step_start: datetime, earliest: datetime, latest: datetime) -> bool:
        """Say whether the moment fits the proofs.

        Args:
            step_start: first moment of the step that the proofs name.
            earliest: first moment of the steps accepted now.
            latest: first moment after them.
        """
        if self.rule.is_known_beforehand:
            return self.moment == step_start
        return earliest <= self.moment < latest


def find_match(
    rules: Sequence[AuthenticationRule], user: str, media_type: str, content: bytes
) -> Match | None:
    """Return the first rule whose form the content has, with the moment in it; None if there is none."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return None
    for rule in rules:
        found = re.fullmatch(_pattern(rule, user), text) if rule.media_type == media_type else None
        if found is not None:
            try:
                return Match(rule, datetime.strptime(found["moment"], _FORM).replace(tzinfo=UTC))
            except ValueError:  # the 30th of February
                continue
    return None


def _pattern(rule: AuthenticationRule, user: str) -> str:
    values = {"time": _MOMENT, "step": _MOMENT, "user": re.escape(user)}
    # Every second part is the name of a place.
    parts = _PLACE.split(rule.template)
    return "".join(values[part] if number % 2 else re.escape(part) for number, part in enumerate(parts))


def read_rules(value: object) -> tuple[AuthenticationRule, ...]:
    """Return the rules of a policy in JSON.

    Raises:
        ValueError: they are none; the text says why.
    """
    if not isinstance(value, list | tuple) or len(value) > RULES_MOST:
        raise ValueError(f"must be a list of at most {RULES_MOST} rules")
    rules = tuple(_read_rule(each) for each in value)
    if len({rule.name for rule in rules}) != len(rules):
        raise ValueError("two rules have the same name")
    return rules


def _read_rule(value: object) -> AuthenticationRule:
    if not isinstance(value, dict) or set(value) != _MEMBERS or not all(map(_is_text, value.values())):
        raise ValueError("a rule has name, media_type and template, all of them text")
    if _NAME.fullmatch(value["name"]) is None:
        raise ValueError("the name of a rule is a word of up to 32 small letters, digits, - and _")
    if _MEDIA_TYPE.fullmatch(value["media_type"]) is None:
        raise ValueError(f"rule {value['name']} has no media type")
    if why := _fault(value["template"]):
        raise ValueError(f"the template of rule {value['name']} {why}")
    return AuthenticationRule(**value)


def _is_text(value: object) -> bool:
    try:
        return isinstance(value, str) and "\x00" not in value and len(value.encode()) <= TEMPLATE_BYTES
    except UnicodeEncodeError:
        return False


def _fault(template: str) -> str | None:
    places = _PLACE.findall(template)
    if unknown := sorted(set(places) - set(PLACEHOLDERS)):
        return f"has the unknown place {{{unknown[0]}}}"
    if len(set(places)) != len(places):
        return "has a place twice"
    if len(_TIMES & set(places)) != 1:
        return "needs either {time} or {step}"
    return None
