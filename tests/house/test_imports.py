"""Do imports run downward, and has each outside library one home?"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.house.tree import ROOT, name_of, parsed, python_files

HOMES = {
    "alembic": ("gateway/store/",),
    "httpx2": ("gateway/worker/",),
    "hypercorn": ("gateway/broken_lines.py", "gateway/serving.py"),
    "pkcs11": ("hsm/",),
    "prometheus_client": ("gateway/measures.py", "gateway/metrics.py"),
    "pydantic_settings": ("gateway/settings.py",),
    "rich": ("gateway/__main__.py", "gateway/commands/"),
    "segno": ("gateway/api/application/",),
    "sqlalchemy": ("gateway/store/",),
    "starlette": ("gateway/api/", "gateway/doors.py"),  # names the type of what it puts together
    "typer": ("gateway/__main__.py", "gateway/commands/"),
}


def test_import_contracts_hold() -> None:
    command = Path(sys.executable).with_name("lint-imports")
    ran = subprocess.run([command, "--no-logo"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_each_outside_library_has_one_home() -> None:
    strays = [
        f"{name_of(path)} imports {module}"
        for path in python_files("gateway", "hsm")
        for module in imported(path)
        if not name_of(path).startswith(HOMES.get(module.partition(".")[0], ("",)))
    ]
    assert strays == []


def test_the_wire_format_uses_the_standard_library_only() -> None:
    outside = [
        f"{name_of(path)} imports {module}"
        for path in python_files("gateway/wire")
        for module in imported(path)
        if module.partition(".")[0] not in sys.stdlib_module_names and not module.startswith("gateway.wire")
    ]
    assert outside == []


def test_counterparts_share_no_code_with_what_they_test() -> None:
    shared = [
        f"{name_of(path)} imports {module}"
        for path in python_files("tests/counterparts")
        for module in imported(path)
        if module.partition(".")[0] in {"gateway", "hsm"}
    ]
    assert shared == []


def imported(path: Path) -> Iterator[str]:
    """Give the modules a file imports, by their full names."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
