"""Does every module say which question it answers?"""

import ast

from tests.house.tree import name_of, parsed, python_files, text


def test_every_module_has_a_docstring() -> None:
    silent = [
        name_of(path)
        for path in python_files()
        if text(path).strip() and ast.get_docstring(parsed(path)) is None
    ]
    assert silent == []
