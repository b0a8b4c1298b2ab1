"""What may the operator do to an application from the command line: add it, point its callbacks, give and take keys?"""

from collections.abc import Iterable
from dataclasses import dataclass

from gateway.ids import new_id
from gateway.rules import policy as policies
from gateway.rules.callback_address import parse_address
from gateway.rules.event import EventType
from gateway.rules.policy import Policy
from gateway.scenarios.access import make_credential
from gateway.scenarios.context import Context
from gateway.scenarios.deliveries import webhook_secret
from gateway.scenarios.recording import Origin, make_event, record
from gateway.store import applications
from gateway.store.applications import Application, Credential
from gateway.store.database import Connection
from gateway.wire import callback

COMMAND_LINE = Origin(request_id="", action="command line")
_NAME_MOST = 100


@dataclass(frozen=True, slots=True)
class NewApplication:
    """What is shown once when an application is added."""

    id: str
    api_key: str
    webhook_secret: str


@dataclass(frozen=True, slots=True)
class Listed:
    """One application with its credentials, revoked ones too."""

    application: Application
    credentials: list[Credential]


async def add_application(
    ctx: Context, name: str, callback_url: str | None, scopes: Iterable[str], policy: Policy
) -> NewApplication:
    """Add an application with its first credential.

    Raises:
        Refusal: the callback address cannot be used.
        ValueError: the name is taken or cannot be read, or a scope does not exist.
    """
    if not name.strip() or not name.isprintable() or len(name) > _NAME_MOST:
        raise ValueError(f"the name of an application has 1 to {_NAME_MOST} characters that can be read")
    if callback_url is not None:
        parse_address(callback_url)
    now = ctx.clock.now()
    application = Application(
        id=new_id("app", now),
        name=name,
        callback_url=callback_url,
        webhook_version=1,
        policy=policy,
        policy_version=1,
        created_at=now,
    )
    credential, api_key = await ctx.on_device(make_credential, ctx, application.id, tuple(scopes))
    secret = await ctx.on_device(webhook_secret, ctx, application)
    if not await ctx.unit(_write_application, application, credential):
        raise ValueError(f"an application named {name!r} is there already")
    return NewApplication(application.id, api_key, callback.format_secret(secret))


def _write_application(connection: Connection, application: Application, credential: Credential) -> bool:
    if not applications.insert_application(connection, application):
        return False
    made = make_event(
        EventType.APPLICATION_CREATED,
        "created",
        application.created_at,
        COMMAND_LINE,
        application_id=application.id,
        detail={"version": application.policy_version, "policy": policies.to_json(application.policy)},
    )
    record(connection, [made])
    _write_credential(connection, credential)
    return True


async def list_applications(ctx: Context) -> list[Listed]:
    """Return every application in the order of their names."""
    return await ctx.reading(_list)


def _list(connection: Connection) -> list[Listed]:
    return [
        Listed(each, applications.credentials_of(connection, each.id))
        for each in applications.list_applications(connection)
    ]


async def set_callback(ctx: Context, application: str, callback_url: str | None) -> Application:
    """Point the callbacks of an application at another address, or (None) send none any more.

    What waits in the outbox keeps the address it was made for, unless that is of another origin now.

    Raises:
        Refusal: the callback address cannot be used.
        ValueError: there is no such application.
    """
    if callback_url is not None:
        parse_address(callback_url)

    def write(connection: Connection) -> Application:
        found = _require(connection, application)
        applications.replace_callback(connection, found.id, callback_url)
        event = make_event(
            EventType.APPLICATION_CHANGED,
            "changed",
            ctx.clock.now(),
            COMMAND_LINE,
            application_id=found.id,
            detail={"callback_url": callback_url},
        )
        record(connection, [event])
        return found

    return await ctx.unit(write)


async def add_credential(ctx: Context, application: str, scopes: Iterable[str]) -> tuple[Credential, str]:
    """Give an application one more API key; returns the credential and the key, to be shown this once.

    Raises:
        ValueError: there is no such application, or a scope does not exist.
    """
    found = await ctx.reading(_require, application)
    credential, api_key = await ctx.on_device(make_credential, ctx, found.id, tuple(scopes))
    await ctx.unit(_write_credential, credential)
    return credential, api_key


def _write_credential(connection: Connection, credential: Credential) -> None:
    applications.insert_credential(connection, credential)
    given = make_event(
        EventType.CREDENTIAL_CREATED,
        "created",
        credential.created_at,
        COMMAND_LINE,
        application_id=credential.application_id,
        detail={"credential": credential.id, "scopes": list(credential.scopes)},
    )
    record(connection, [given])


async def revoke_credential(ctx: Context, credential_id: str) -> None:
    """Take an API key back, at once and for good.

    Raises:
        ValueError: there is no such credential, or it was revoked before.
    """
    now = ctx.clock.now()

    def write(connection: Connection) -> None:
        found = applications.find_credential(connection, credential_id)
        if found is None:
            raise ValueError(f"there is no credential {credential_id!r}")
        if not applications.revoke_credential(connection, credential_id, now):
            raise ValueError(f"the credential {credential_id!r} was revoked before")
        event = make_event(
            EventType.CREDENTIAL_REVOKED,
            "revoked",
            now,
            COMMAND_LINE,
            application_id=found.application_id,
            detail={"credential": credential_id},
        )
        record(connection, [event])

    await ctx.unit(write)


def _require(connection: Connection, named: str) -> Application:
    """Return the application of this id or name."""
    found = applications.find_named_application(connection, named)
    if found is None:
        raise ValueError(f"there is no application {named!r}")
    return found
