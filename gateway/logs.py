"""How are log lines written: one JSON object each on standard error, from the house and its libraries alike."""

import logging
import sys
from typing import Any

import structlog

# Values under these names never reach a line, whoever logs them.
_SECRET_NAMES = (
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

_HOUSE_LOGGERS = ("gateway", "worker", "access")


def _without_secrets(_logger: object, _method: str, line: dict[str, Any]) -> dict[str, Any]:
    return {name: "***" if name.lower() in _SECRET_NAMES else value for name, value in line.items()}


def configure_logs(level: str) -> None:
    """Send every line of this process as JSON to standard error.

    Args:
        level: least level, one of ``debug``, ``info``, ``warning``, ``error``.
    """
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
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(),
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    # Libraries never speak below INFO: hpack, for one, tells every header at DEBUG, API keys included.
    root.setLevel(max(logging.INFO, logging.getLevelNamesMapping()[level.upper()]))
    for house in _HOUSE_LOGGERS:
        logging.getLogger(house).setLevel(level.upper())
    for chatty in ("httpx2", "httpcore2", "alembic"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
