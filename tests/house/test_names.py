"""Does every file say by its name what it is about?"""

import re

from tests.house.tree import name_of, python_files

# Names that say nothing, and so collect everything.
EMPTY = re.compile(r"^(utils?|helpers?|managers?|common|misc|shared|base|core|tools?|functions|stuff)$")


def test_no_file_has_a_name_that_says_nothing() -> None:
    empty = [
        name_of(path)
        for path in python_files()
        if any(EMPTY.match(part) for part in path.relative_to(path.anchor).with_suffix("").parts[-4:])
    ]
    assert empty == []
