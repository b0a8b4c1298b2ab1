"""How are log lines written: one JSON object each on standard error, from the house and its libraries alike."""

import logging
import sys
from contextlib import suppress
from io import RawIOBase
from threading import Lock
from typing import Any

import orjson
import structlog

# Values under these names never reach a line, whoever logs them.
_SECRET_NAMES = frozenset(
    (
        "pin",
        "secret",
        "password",
        "key",
        "code",
        "authorization",
        "content",
        "body",
        "package",
        "push_id",
    )
)

_writing = Lock()


def _without_secrets(_logger: object, _method: str, line: dict[str, Any]) -> dict[str, Any]:
    if _SECRET_NAMES.isdisjoint(map(str.lower, line)):  # of nearly every line
        return line
    return {name: "***" if name.lower() in _SECRET_NAMES else value for name, value in line.items()}


class _Lines:
    """Writes the lines of the logger of one name. A line that cannot be written stops nobody's work."""

    def __init__(self, file: RawIOBase, name: str) -> None:
        self._file = file
        self.name = name  # where structlog.stdlib.add_logger_name looks for it

    def write(self, line: bytes) -> None:
        left = memoryview(line + b"\n")
        with _writing, suppress(OSError, ValueError):  # a full disk, a closed stream
            while left:
                left = left[self._file.write(left) or len(left) :]  # lost, if nobody takes it at the moment

    debug = info = warning = error = critical = write


class _OfLibraries(logging.Handler):
    """Writes the lines of libraries likewise."""

    def __init__(self, lines: _Lines) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        try:
            self._lines.write(self.format(record).encode())
        except Exception:  # noqa: BLE001 - as handlers do
            self.handleError(record)


def _lines(name: str = "gateway") -> _Lines:
    # What a buffer holds and a full disk does not take would fail the end of a process that did its work.
    buffer: Any = sys.stderr.buffer
    return _Lines(getattr(buffer, "raw", buffer), name)


def configure_logs(level: str) -> None:
    """Send every line of this process as JSON to standard error.

    Args:
        level: least level, one of ``debug``, ``info``, ``warning``, ``error``.
    """
    least = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Any] = [
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        # Without the values of local variables: they may be keys.
        structlog.processors.ExceptionRenderer(
            structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=30)
        ),
        _without_secrets,
    ]
    # The house's own lines, one for each request, go straight to the stream: the way over logging costs ten times more.
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer(serializer=_as_json)],
        logger_factory=_lines,
        wrapper_class=structlog.make_filtering_bound_logger(least),
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(),
        ],
    )
    handler = _OfLibraries(_lines("libraries"))
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    # Libraries never speak below INFO: hpack, for one, tells every header at DEBUG, API keys included.
    root.setLevel(max(logging.INFO, least))
    for chatty in ("httpx2", "httpcore2", "alembic"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))


def _as_json(line: dict[str, Any], **options: Any) -> bytes:
    return orjson.dumps(line, default=options["default"])
