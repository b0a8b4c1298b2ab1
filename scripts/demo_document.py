"""Which file is confirmed, and what is it? Its type is told by its name and its first bytes together."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

LONGEST_TITLE = 200


class Unsuitable(Exception):
    """The file cannot be confirmed; the text says why."""


@dataclass(frozen=True, slots=True)
class Document:
    """A file as the bank sends it."""

    path: Path
    content: bytes
    media_type: str

    @classmethod
    def read(cls, path: Path, most_bytes: int) -> "Document":
        """Read a file of 1 to `most_bytes` bytes; raises Unsuitable."""
        if path.is_dir():
            raise Unsuitable(f"{path} is a folder; name a file")
        try:
            with path.open("rb") as file:
                content = file.read(most_bytes + 1)
        except FileNotFoundError:
            raise Unsuitable(f"there is no file {path}") from None
        except OSError as error:
            raise Unsuitable(f"{path} cannot be read: {error.strerror}") from None
        if not content:
            raise Unsuitable(f"{path} is empty; there is nothing to confirm")
        if len(content) > most_bytes:
            raise Unsuitable(f"{path} has more than {most_bytes // 1024**2} MiB, the most that is taken")
        return cls(path, content, _media_type(path.suffix.lower(), content))

    @property
    def title(self) -> str:
        """The file's name as text; bytes that are not UTF-8 and control signs are replaced."""
        name = os.fsencode(self.path.name).decode("utf-8", "replace")[:LONGEST_TITLE]
        return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in name)

    @property
    def digest(self) -> bytes:
        """SHA-256 of the content."""
        return hashlib.sha256(self.content).digest()


def _media_type(suffix: str, content: bytes) -> str:
    if suffix == ".pdf" and content.startswith(b"%PDF-"):
        return "application/pdf"
    if suffix == ".txt" and _is_text(content):
        return "text/plain; charset=utf-8"
    return "application/octet-stream"


def _is_text(content: bytes) -> bool:
    try:
        return "\0" not in content.decode("utf-8")
    except UnicodeDecodeError:
        return False
