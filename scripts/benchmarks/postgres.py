"""Where does a benchmark get an empty PostgreSQL that syncs every commit to the disk?"""

import contextlib
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
_START_SECONDS = 30


def _programs() -> Path:
    """Return the folder with initdb and postgres, where scripts/test looks for it too."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = shutil.which("initdb")
    for place in [*places, *([Path(found).parent] if found else [])]:
        if (place / "initdb").exists():
            return place
    raise SystemExit("There is no PostgreSQL here. `scripts/apt-install postgresql-15` gets one.")


@contextlib.contextmanager
def throw_away_cluster(folder: Path) -> Iterator[tuple[str, int]]:
    """Run a new cluster in `folder`; gives the URL of an empty database and the server's process id."""
    programs, log = _programs(), folder / "postgres.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [ROOT / "scripts" / "test-postgres", programs, folder / "postgres"],
            stdout=output,
            stderr=output,
        )
    socket = folder / "postgres" / "socket"
    try:
        _wait_ready(server, [str(programs / "pg_isready"), "--quiet", f"--host={socket}"], log)
        yield f"postgresql+psycopg://countersign@/postgres?host={socket}", server.pid
    finally:
        server.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown: it waits for nobody
        server.wait(_START_SECONDS)


def _wait_ready(server: subprocess.Popen[bytes], question: list[str], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while subprocess.run(question, check=False).returncode:
        if server.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(log.read_text()[-2000:])
        time.sleep(0.1)
