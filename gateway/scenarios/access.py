"""Which application is asking: API keys, kept as a MAC that only the HSM can make.

The rows of requests that arrive together are read together, and for each request anew. The HSM is asked about a key
that it did not recognise before; those that it did need not wait for that.
"""

import hmac
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gateway.ids import new_id
from gateway.refusals import Outage, Refusal
from gateway.rules.event import EventType
from gateway.scenarios.context import Context
from gateway.scenarios.fair_share import on_behalf_of
from gateway.scenarios.recording import Origin, make_event, record
from gateway.store import applications
from gateway.store.applications import Application, Credential
from gateway.store.database import Connection
from gateway.wire.house_inputs import api_key_input

# A scope that is not in the default must be given by name when the credential is made.
DEFAULT_SCOPES = (
    "user:read", "user:write", "user:block", "keyset:issue", "transaction:read", "transaction:write",
    "signature:verify", "event:read", "policy:read", "webhook:rotate",
)  # fmt: skip
EXTRA_SCOPES = (
    "policy:write", "user:unblock", "user:settings", "user:delete", "device:delete", "keyset:activation-code",
)  # fmt: skip
_KEY = re.compile(r"Bearer csk_([0-9a-f]{32})\.([A-Za-z0-9_-]{43})")
_NO_DIGEST = bytes(32)
_Row = tuple[Credential | None, Application | None]
_MOST, _AT_ONCE = 16, 2  # requests that are looked up together, and such groups


@dataclass(frozen=True, slots=True)
class Asker:
    """An authenticated application and what its credential allows."""

    application: Application
    credential_id: str
    scopes: frozenset[str]

    def require_scope(self, scope: str) -> None:
        """Refuse unless the credential has the scope."""
        if scope not in self.scopes:
            raise Refusal("scope_missing", f"lacks {scope}", detail=f"The call needs the scope {scope}.")


def make_credential(ctx: Context, application_id: str, scopes: Iterable[str]) -> tuple[Credential, str]:
    """Return a credential to be stored, and the API key to be shown once. Talks to the device.

    Raises:
        ValueError: a scope that does not exist.
    """
    chosen = tuple(sorted(set(scopes)))
    unknown = set(chosen) - {*DEFAULT_SCOPES, *EXTRA_SCOPES}
    if unknown:
        raise ValueError(f"unknown scope {', '.join(sorted(unknown))}")
    now = ctx.clock.now()
    credential_id, secret = new_id("key", now), secrets.token_urlsafe(32)
    digest = ctx.device.mac(ctx.keys.credential, api_key_input(credential_id, application_id, chosen, secret))
    credential = Credential(
        id=credential_id,
        application_id=application_id,
        digest=digest,
        scopes=chosen,
        created_at=now,
        revoked_at=None,
    )
    return credential, f"csk_{credential_id.removeprefix('key_')}.{secret}"


async def authenticate_application(ctx: Context, authorization: str, origin: Origin) -> Asker:
    """Return who is asking.

    Args:
        ctx: the parts.
        authorization: the value of the Authorization header, empty if there is none.
        origin: where the request came from.

    Raises:
        Refusal: ``unauthenticated``, whatever the reason.
    """
    match = _KEY.fullmatch(authorization)
    if match is None:
        raise Refusal("unauthenticated", "no API key")
    credential_id, secret = f"key_{match[1]}", match[2]
    with on_behalf_of(credential_id):  # whose it is nobody knows yet; who claims one waits for it
        credential, application = await ctx.room(_look_up_together, _MOST, _AT_ONCE).ask(credential_id)
        is_right = ctx.known_keys.knows(credential, secret) or await ctx.on_device(
            _is_right, ctx, credential_id, credential, secret
        )
    if credential is None or application is None or not is_right or credential.revoked_at is not None:
        reason = "revoked API key" if credential and credential.revoked_at else "wrong API key"
        await ctx.unit(
            _record_refusal, ctx, origin, reason, credential.application_id if credential else None
        )
        raise Refusal("unauthenticated", reason)
    return Asker(application, credential.id, frozenset(credential.scopes))


async def _look_up_together(ctx: Context, credential_ids: list[str]) -> list[_Row | Exception]:
    """Return the credentials of these ids with their applications; a row that cannot be read is one asker's matter."""
    try:
        return [*await ctx.looking(_find_all, credential_ids)]
    except Outage:
        raise
    except Exception as error:  # noqa: BLE001 - it is told to whom it concerns
        if len(credential_ids) == 1:
            return [error]
    return [found for each in credential_ids for found in await _look_up_together(ctx, [each])]


def _find_all(connection: Connection, credential_ids: Sequence[str]) -> list[_Row]:
    known = applications.find_with_applications(connection, {*credential_ids})
    return [known.get(each, (None, None)) for each in credential_ids]


def _is_right(ctx: Context, credential_id: str, credential: Credential | None, secret: str) -> bool:
    """Let the HSM say whether the key is the one of its row; an unknown one costs as much."""
    owner = credential.application_id if credential else ""
    scopes = credential.scopes if credential else ()
    mac = ctx.device.mac(ctx.keys.credential, api_key_input(credential_id, owner, scopes, secret))
    right = hmac.compare_digest(mac, credential.digest if credential else _NO_DIGEST)
    if right and credential is not None:
        ctx.known_keys.remember(credential, secret)
    return right and credential is not None


def _record_refusal(
    connection: Connection, ctx: Context, origin: Origin, reason: str, application_id: str | None
) -> None:
    event = make_event(
        EventType.APPLICATION_REFUSED,
        "unauthenticated",
        ctx.clock.now(),
        origin,
        reason=reason,
        application_id=application_id,
    )
    record(connection, [event])
