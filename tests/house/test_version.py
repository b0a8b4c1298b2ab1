"""Do the package and the changelog speak of the same version?"""

import re
import tomllib

from tests.house.tree import ROOT

VERSION = re.compile(r"^## (\d+\.\d+\.\d+)", re.MULTILINE)


def test_the_newest_entry_of_the_changelog_is_the_version_of_the_package() -> None:
    package = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    entries = VERSION.findall((ROOT / "CHANGELOG.md").read_text())
    assert entries[:1] == [package]
