"""How does a bank's application system talk to the application door: one exchange, a stream, a refusal?"""

import contextlib
import ssl
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import httpx2

Json = dict[str, Any]
TIMEOUT_SECONDS = 45.0
ERRORS_FROM = 400
PROBLEM = "application/problem+json"


class BankRefused(Exception):
    """The gateway said no. `code` is the problem's stable name, `problem` the whole document."""

    def __init__(self, response: httpx2.Response) -> None:
        self.status, self.headers = response.status_code, response.headers
        kind = response.headers.get("content-type", "").split(";")[0]
        self.problem: Json = response.json() if kind == PROBLEM else {}
        self.code = str(self.problem.get("code", ""))
        super().__init__(f"{self.status} {self.code} {self.problem.get('detail', '')}".strip())


class BankLine:
    """One application system. `ca`: a file of authorities; `certificate`: chain and key files for mTLS."""

    def __init__(
        self,
        url: str,
        api_key: str | None,
        *,
        ca: Path | None = None,
        certificate: tuple[Path, Path] | None = None,
    ) -> None:
        context = ssl.create_default_context(cafile=ca)
        if certificate is not None:
            context.load_cert_chain(*certificate)
        headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        self._http = httpx2.Client(
            base_url=url, headers=headers, verify=context, trust_env=False, timeout=TIMEOUT_SECONDS
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        content: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> httpx2.Response:
        """One raw exchange, whatever the answer."""
        given = {name: value for name, value in (params or {}).items() if value is not None}
        if json is not None:
            return self._http.request(method, path, json=json, headers=headers, params=given)
        return self._http.request(method, path, content=content, headers=headers, params=given)

    @contextlib.contextmanager
    def stream(
        self, path: str, *, headers: Mapping[str, str], params: Mapping[str, Any]
    ) -> Iterator[httpx2.Response]:
        """One raw GET whose answer is read as it comes; hung up at the end of the block."""
        with self._http.stream("GET", path, headers=headers, params=params) as response:
            yield response

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Json:
        """One exchange that should succeed; raises BankRefused."""
        response = self.request(method, path, json=body, content=content, headers=headers, params=params)
        if response.status_code >= ERRORS_FROM:
            raise BankRefused(response)
        found = response.json()
        assert isinstance(found, dict), path
        return found
