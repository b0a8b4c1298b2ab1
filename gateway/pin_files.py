"""Can others than the gateway's user read the PIN of a token? Said in the log, where it can be mended."""

import stat
from collections.abc import Iterable
from contextlib import suppress

import structlog

from hsm.connection import pin_file_of
from hsm.uri import TokenUri

_log = structlog.get_logger("gateway")


def warn_of_open_pins(uris: Iterable[str]) -> None:
    """Log which PIN files everybody on the machine can read; whether they exist is for whoever reads them to say."""
    for source in filter(None, (TokenUri.parse(uri).pin_source for uri in uris)):
        with suppress(OSError):
            if pin_file_of(source).stat().st_mode & stat.S_IROTH:
                _log.warning("everybody on this machine can read the PIN", file=str(pin_file_of(source)))
