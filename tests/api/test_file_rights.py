"""Is what the gateway writes nobody else's, and does it say so where others can read the PIN?"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.gateways import Authority, Gateway
from tests.tokens import pin_file_of

OTHERS = 0o007
_WARNING = "everybody on this machine can read the PIN"


@pytest.fixture
def open_umask() -> Iterator[None]:
    """What a program inherits that is started by hand where nobody took care."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_umask")
def test_an_embedded_database_in_an_open_folder_is_nobody_elses(
    tmp_path: Path, new_token: Callable[[], str]
) -> None:
    gateway = Gateway(tmp_path, new_token(), Authority.make(tmp_path), anew=True)
    (tmp_path / "data").mkdir(mode=0o755)
    said = gateway.run("init").stderr
    written = list((tmp_path / "data").iterdir())
    assert written
    assert [file.name for file in written if file.stat().st_mode & OTHERS] == []
    assert _WARNING not in said
    gateway.anew = False
    pin_file_of(gateway.token_uri).chmod(0o644)
    assert _WARNING in gateway.run("check").stderr
