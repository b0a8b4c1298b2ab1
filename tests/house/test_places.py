"""Does the tree stand alone, without a trace of the machine it was written on?"""

import re

from tests.house.tree import files, name_of, text

# A path from the root, not the end of a longer one or of a URL.
MACHINE = re.compile(r"(?<![\w.$}>~/-])/(?:work|home|root|Users)(?=[/\s\"'`:;,)]|$)", re.MULTILINE)


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    found = {
        f"{name_of(path)}:{text(path).count(chr(10), 0, match.start()) + 1}"
        for path in files()
        for match in MACHINE.finditer(text(path))
    }
    assert found == set()
