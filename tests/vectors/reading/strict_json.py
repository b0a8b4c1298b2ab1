"""Which bytes are the JSON of a request? A reader of its own, with the limits of the reference."""

import math
import re
from typing import Any

from tests.vectors.reading.octets import Refused, need

SPACE = re.compile(r"[ \t\n\r]*")
NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
WORDS = {"true": True, "false": False, "null": None}


def read(raw: bytes, most: int = 8192) -> dict[str, Any]:
    """The object in these bytes."""
    need(len(raw) <= most, "too_large")
    need(raw[:1] == b"{", "not_object")
    try:
        reader = _Reader(raw.decode("utf-8", "strict"))
    except UnicodeDecodeError:
        raise Refused("not_text") from None
    value = reader.value(1)
    reader.space()
    need(reader.at == len(reader.text), "json")
    return value


class _Reader:
    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    def space(self) -> str:
        """Skip white space and return the next character, or nothing."""
        self.at = SPACE.match(self.text, self.at).end()  # type: ignore[union-attr]
        return self.text[self.at : self.at + 1]

    def expect(self, characters: str) -> str:
        """Take one of the characters."""
        found = self.space()
        need(found and found in characters, "json")
        self.at += 1
        return found

    def value(self, level: int) -> Any:
        first = self.space()
        if first in ("{", "["):
            need(level <= 8, "depth")
            return self.members(level) if first == "{" else self.items(level)
        if first == '"':
            return self.string()
        for word, value in WORDS.items():
            if self.text.startswith(word, self.at):
                self.at += len(word)
                return value
        need(not re.compile(r"NaN|-?Infinity").match(self.text, self.at), "number")
        return self.number()

    def members(self, level: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        self.expect("{")
        if self.space() == "}":
            self.at += 1
            return found
        while True:
            need(self.space() == '"', "json")
            name = self.string()
            need(name not in found, "duplicate")
            self.expect(":")
            found[name] = self.value(level + 1)
            if self.expect(",}") == "}":
                return found

    def items(self, level: int) -> list[Any]:
        found: list[Any] = []
        self.expect("[")
        if self.space() == "]":
            self.at += 1
            return found
        while True:
            found.append(self.value(level + 1))
            if self.expect(",]") == "]":
                return found

    def string(self) -> str:
        self.at += 1
        units: list[str] = []
        while True:
            need(self.at < len(self.text), "json")
            character = self.text[self.at]
            self.at += 1
            if character == '"':
                break
            need(character >= " ", "json")
            units.append(self.escape() if character == "\\" else character)
        return _whole("".join(units))

    def escape(self) -> str:
        letter = self.text[self.at : self.at + 1]
        self.at += 1
        if letter == "u":
            digits = self.text[self.at : self.at + 4]
            need(re.fullmatch(r"[0-9a-fA-F]{4}", digits), "json")
            self.at += 4
            return chr(int(digits, 16))
        need(letter in ESCAPES and letter, "json")
        return ESCAPES[letter]

    def number(self) -> int | float:
        found = NUMBER.match(self.text, self.at)
        need(found, "json")
        assert found is not None
        self.at = found.end()
        if found.group(2) is None and found.group(3) is None:
            need(len(found.group()) < 20 and abs(int(found.group())) < 2**53, "number")
            return int(found.group())
        need(math.isfinite(float(found.group())), "number")
        return float(found.group())


def _whole(text: str) -> str:
    """Join surrogate pairs; a lone one is no text."""
    try:
        joined = text.encode("utf-16-be", "surrogatepass").decode("utf-16-be", "strict")
    except UnicodeDecodeError:
        raise Refused("not_text") from None
    need("\0" not in joined, "not_text")
    return joined
