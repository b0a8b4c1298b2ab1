"""How is something posted to a foreign address: a name resolved once, an address checked, that one connected to.

So a name cannot point into the inner network after it was checked.
"""

import asyncio
import ipaddress
import os
import socket
import ssl
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx2

from gateway.rules.callback_address import is_public
from gateway.rules.delivery import RUNNING_MOST

_SUCCESS = 2  # hundred and something


def _lookups() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(RUNNING_MOST, "lookup")


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """How something is posted. Names are looked up in threads of their own: a slow one holds up nothing else."""

    tls: ssl.SSLContext
    private_addresses: bool
    seconds_most: int
    lookups: ThreadPoolExecutor = field(default_factory=_lookups)


class NotDelivered(Exception):
    """A try failed; the text says why and holds nothing of the body."""


async def send(post: Post, url: str, body: bytes, headers: Mapping[str, str]) -> None:
    """Post the body; raises NotDelivered unless the receiver accepts it in time."""
    try:
        # From the name to the status; the client's own limits are off.
        async with asyncio.timeout(post.seconds_most):
            status = (await exchange(post, url, body, headers)).status_code
    except TimeoutError:
        raise NotDelivered("no answer in time") from None
    except NotDelivered:
        raise
    except Exception as error:  # noqa: BLE001 - whatever an address or a receiver brings about counts as a try
        raise NotDelivered(f"no connection: {reason_of(error)}") from None
    if status // 100 != _SUCCESS:
        raise NotDelivered(f"answered with status {status}")


def reason_of(error: BaseException) -> str:
    """Return the kind of an error, and what the system or TLS said of it where it is below: no client repeats that."""
    kind, below = type(error).__name__, error.__cause__ or error.__context__
    while below is not None:
        if isinstance(below, ssl.SSLCertVerificationError):
            return f"{kind} (certificate verify failed: {below.verify_message})"
        if isinstance(below, OSError) and below.errno and below.strerror:
            return f"{kind} ({os.strerror(below.errno) if below.errno > 0 else below.strerror})"
        below = below.__cause__ or below.__context__
    return kind


async def exchange(post: Post, url: str, body: bytes, headers: Mapping[str, str]) -> httpx2.Response:
    """Post to the address that was checked and return status and headers of the answer, whose body is not read.

    Without a time limit of its own; raises NotDelivered where the address may not be reached, else what httpx2 raises.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    address = await _resolve(post, host, port)
    literal = f"[{address}]" if ":" in address else address
    pinned = parts._replace(netloc=f"{literal}:{port}").geturl()
    named = {**headers, "host": parts.netloc}
    async with (
        httpx2.AsyncClient(verify=post.tls, follow_redirects=False, trust_env=False, timeout=None) as client,
        # The answer's body is of no interest and may be endless: it is not read.
        client.stream(
            "POST",
            pinned,
            content=body,
            headers=named,
            extensions={"sni_hostname": host},
        ) as answer,
    ):
        return answer


async def _resolve(post: Post, host: str, port: int) -> str:
    """Return the address to connect to; refuses one that may not be reached."""
    try:
        found = await asyncio.get_running_loop().run_in_executor(
            post.lookups, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        )
    except (OSError, UnicodeError):  # the second: a label that no name can have
        raise NotDelivered("the name of the host cannot be resolved") from None
    addresses = [str(entry[4][0]) for entry in found]
    if not post.private_addresses and not all(is_public(address) for address in addresses):
        raise NotDelivered("the host has an address that may not be reached")
    # IPv4 first: many inner networks resolve IPv6 but do not route it.
    return min(addresses, key=lambda address: ipaddress.ip_address(address).version)
