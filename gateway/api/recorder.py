"""What is kept of a request: one line in the log, without body, query, header or key, and one more in the count."""

import time
from http import HTTPStatus

import structlog

from gateway.api.problems import Reply
from gateway.measures import count_request

_log = structlog.get_logger("access")
_BUG, _AWAY = HTTPStatus.INTERNAL_SERVER_ERROR.value, HTTPStatus.SERVICE_UNAVAILABLE.value


class RequestLine:
    """Measures a request from its beginning and writes its line at the end."""

    def __init__(self, door: str, request_id: str, method: str, route: str, address: str | None) -> None:
        self._started = time.perf_counter()
        self._door, self._method, self._route = door, method, route
        self._fields = {
            "door": door,
            "request": request_id,
            "method": method,
            "route": route,
            "address": address,
        }

    def finish(self, reply: Reply, reason: str | None = None, error: Exception | None = None) -> None:
        """Write the line: a bug with its traceback (without values), an outage as a warning, the rest as info."""
        seconds = time.perf_counter() - self._started
        took = round(seconds * 1000, 1)
        count_request(self._door, self._method, self._route, reply.status, seconds)
        fields = {**self._fields, "status": reply.status, "ms": took}
        if reason:
            fields["reason"] = reason
        if reply.status == _BUG and error is not None:
            _log.error("request", **fields, exc_info=error)
        elif reply.status == _AWAY:
            _log.warning("request", **fields)
        else:
            _log.info("request", **fields)
