"""Does the package ask for every library that it imports?"""

import re
import sys
import tomllib
from importlib.metadata import packages_distributions

from tests.house.test_imports import imported
from tests.house.tree import ROOT, name_of, python_files

OURS = {"gateway", "hsm"}


def test_the_product_imports_only_what_a_user_of_the_package_gets() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = {re.split(r"[\[<>=~ ]", requirement)[0].lower() for requirement in project["dependencies"]}
    distributions = packages_distributions()
    missing = {
        f"{name_of(path)} imports {library}"
        for path in python_files("gateway", "hsm")
        for library in {module.partition(".")[0] for module in imported(path)}
        if library not in OURS | sys.stdlib_module_names
        and not asked & {name.lower().replace("_", "-") for name in distributions.get(library, [])}
    }
    assert missing == set()
