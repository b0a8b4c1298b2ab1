"""Does every file and every function fit on the page it is allowed?"""

import ast
from pathlib import Path

from tests.house.tree import name_of, parsed, python_files, text

MOST_LINES_OF_A_FILE = 300
MOST_LINES_OF_A_FUNCTION = 35


def _bounded() -> list[Path]:
    # A migration is a record of what was done; it is written once and never read as a whole.
    return [path for path in python_files() if "/migrations/versions/" not in name_of(path)]


def test_no_file_is_longer_than_300_lines() -> None:
    lines = {name_of(path): len(text(path).splitlines()) for path in _bounded()}
    assert {name: count for name, count in lines.items() if count > MOST_LINES_OF_A_FILE} == {}


def test_no_function_is_longer_than_35_lines() -> None:
    long = {
        f"{name_of(path)}:{node.lineno} {node.name}": length
        for path in _bounded()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := _lines(node)) > MOST_LINES_OF_A_FUNCTION
    }
    assert long == {}


def _lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the lines from ``def`` on, without the docstring: explaining more must not be punished."""
    first = function.body[0]
    told = first.end_lineno - first.lineno + 1 if ast.get_docstring(function) and first.end_lineno else 0
    return (function.end_lineno or 0) - function.lineno + 1 - told
