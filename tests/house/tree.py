"""Which files belong to the project? Read from the folder, because a release has no version control."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]

# What tools make, and .gitignore therefore names.
_MADE = {"__pycache__", "build", "dist", "var", ".git", ".venv"}
_MADE_ENDINGS = ("_cache", ".egg-info", ".hypothesis")

PYTHON_FOLDERS = ("gateway", "hsm", "scripts", "tests")


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name in _MADE or path.name.endswith(_MADE_ENDINGS) or path.is_symlink():
            continue
        if path.is_dir():
            yield from _walk(path)
        else:
            yield path


@cache
def files() -> tuple[Path, ...]:
    """Return every file of the project."""
    return tuple(_walk(ROOT))


def name_of(path: Path) -> str:
    """Return the path as the project's people write it: from the root."""
    return path.relative_to(ROOT).as_posix()


def python_files(*folders: str) -> list[Path]:
    """Return the Python files in the folders (all when none is given), also those without a suffix."""
    wanted = tuple(f"{folder}/" for folder in folders or PYTHON_FOLDERS)
    return [path for path in files() if name_of(path).startswith(wanted) and _is(path, ".py", "python3")]


def shell_files() -> list[Path]:
    """Return the shell scripts."""
    return [path for path in files() if _is(path, ".sh", "bash")]


def documents() -> list[Path]:
    """Return the Markdown files."""
    return [path for path in files() if path.suffix == ".md"]


@cache
def text(path: Path) -> str:
    """Return the text of a file; empty for a file that holds no text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


@cache
def parsed(path: Path) -> ast.Module:
    """Return the syntax tree of a Python file."""
    return ast.parse(text(path), str(path))


def _is(path: Path, suffix: str, interpreter: str) -> bool:
    if path.suffix:
        return path.suffix == suffix
    first = text(path).partition("\n")[0]
    return first.startswith("#!") and first.endswith(interpreter)
