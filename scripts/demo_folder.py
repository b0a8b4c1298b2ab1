"""Where does the demo leave its things? In a folder that is its own alone, emptied before each run."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MARK = ".made-by-scripts-demo"


class FolderTaken(Exception):
    """The folder is not the demo's to empty; the text says why."""


@contextmanager
def own_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder that no other demo uses meanwhile; one that the demo did not make is left alone."""
    folder = path.absolute()
    if folder.exists() and any(folder.iterdir()) and not (folder / MARK).exists():
        raise FolderTaken(f"{folder} holds other things; name a new folder")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / MARK).open("a") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderTaken(
                f"another demo is running in {folder}; name another one with --folder"
            ) from None
        _empty(folder)
        yield folder


def _empty(folder: Path) -> None:
    for old in folder.iterdir():
        if old.is_dir() and not old.is_symlink():
            shutil.rmtree(old)
        elif old.name != MARK:
            old.unlink()
