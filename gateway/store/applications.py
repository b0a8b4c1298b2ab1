"""What is remembered of applications: their names, callback addresses, policies and credentials."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from gateway.rules import policy as policies
from gateway.rules.policy import Policy
from gateway.store.many import among, insert_new
from gateway.store.tables import applications, credentials, policy_versions

_BY_IDS = sa.select(applications).where(among(applications.c.id, "ids"))
_CREDENTIAL = sa.select(credentials).where(credentials.c.id == sa.bindparam("id"))
_WITH_APPLICATIONS = (
    sa.select(credentials, applications)
    .join(applications, applications.c.id == credentials.c.application_id)
    .where(among(credentials.c.id, "ids"))
)
_OF_CREDENTIAL = tuple(column.name for column in credentials.c)
_OF_APPLICATION = tuple(column.name for column in applications.c)
_POLICY = sa.select(policy_versions).where(
    policy_versions.c.application_id == sa.bindparam("of_application"),
    policy_versions.c.version == sa.bindparam("of_version"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """One application system with its decisions."""

    id: str
    name: str
    callback_url: str | None
    webhook_version: int
    webhook_rotated_at: datetime | None = None
    policy: Policy
    policy_version: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """One policy of an application, in the words of its time, and since when it was in force."""

    version: int
    policy: dict[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """One API key of an application; ``digest`` is a MAC by the HSM over the key's secret."""

    id: str
    application_id: str
    digest: bytes
    scopes: tuple[str, ...]
    created_at: datetime
    revoked_at: datetime | None


def insert_application(connection: Connection, application: Application) -> bool:
    """Add the application with the first version of its policy; False when its name is taken."""
    made = insert_new(
        connection,
        applications,
        id=application.id,
        name=application.name,
        callback_url=application.callback_url,
        webhook_version=application.webhook_version,
        webhook_rotated_at=application.webhook_rotated_at,
        policy=policies.to_json(application.policy),
        policy_version=application.policy_version,
        created_at=application.created_at,
    )
    if made:
        version, since = application.policy_version, application.created_at
        _keep_policy(connection, application.id, version, application.policy, since)
    return made


def find_application(connection: Connection, application_id: str) -> Application | None:
    """Return the application of this id, or None."""
    return find_applications(connection, [application_id]).get(application_id)


def find_applications(connection: Connection, application_ids: Collection[str]) -> dict[str, Application]:
    """Return the applications of these ids that there are, by id."""
    found = [_application(row) for row in connection.execute(_BY_IDS, {"ids": list(application_ids)})]
    return {application.id: application for application in found}


def find_named_application(connection: Connection, named: str) -> Application | None:
    """Return the application of this id, or else of this name, or None."""
    found = find_application(connection, named)
    if found is not None:
        return found
    row = connection.execute(sa.select(applications).where(applications.c.name == named)).one_or_none()
    return None if row is None else _application(row)


def list_applications(connection: Connection) -> list[Application]:
    """Return every application in the order of their names."""
    return [
        _application(row) for row in connection.execute(sa.select(applications).order_by(applications.c.name))
    ]


def replace_callback(connection: Connection, application_id: str, callback_url: str | None) -> None:
    """Put another callback address in force, or none."""
    connection.execute(
        sa.update(applications).where(applications.c.id == application_id).values(callback_url=callback_url)
    )


def replace_policy(connection: Connection, application_id: str, policy: Policy, now: datetime) -> int:
    """Put the policy in force, keep it under its version, and return that."""
    statement = (
        sa.update(applications)
        .where(applications.c.id == application_id)
        .values(policy=policies.to_json(policy), policy_version=applications.c.policy_version + 1)
        .returning(applications.c.policy_version)
    )
    version = int(connection.execute(statement).scalar_one())
    _keep_policy(connection, application_id, version, policy, now)
    return version


def _keep_policy(
    connection: Connection, application_id: str, version: int, policy: Policy, now: datetime
) -> None:
    connection.execute(
        sa.insert(policy_versions).values(
            application_id=application_id, version=version, policy=policies.to_json(policy), created_at=now
        )
    )


def find_policy(connection: Connection, application_id: str, version: int) -> PolicyVersion | None:
    """Return the policy that had this version, as it was written then, or None."""
    row = connection.execute(_POLICY, {"of_application": application_id, "of_version": version}).one_or_none()
    return None if row is None else PolicyVersion(row.version, row.policy, row.created_at)


def list_policies(connection: Connection, application_id: str, after: int, limit: int) -> list[PolicyVersion]:
    """Return a page of the policies there were, oldest first, from the version after ``after`` on."""
    chosen = sa.select(policy_versions).where(
        policy_versions.c.application_id == application_id, policy_versions.c.version > after
    )
    rows = connection.execute(chosen.order_by(policy_versions.c.version).limit(limit))
    return [PolicyVersion(row.version, row.policy, row.created_at) for row in rows]


def raise_webhook_version(connection: Connection, seen: Application, now: datetime) -> bool:
    """Count the callback secret up if nobody has since it was seen."""
    statement = (
        sa.update(applications)
        .where(applications.c.id == seen.id, applications.c.webhook_version == seen.webhook_version)
        .values(webhook_version=applications.c.webhook_version + 1, webhook_rotated_at=now)
    )
    return connection.execute(statement).rowcount == 1


def insert_credential(connection: Connection, credential: Credential) -> None:
    """Add a credential."""
    connection.execute(
        sa.insert(credentials).values(
            id=credential.id,
            application_id=credential.application_id,
            digest=credential.digest,
            scopes=list(credential.scopes),
            created_at=credential.created_at,
            revoked_at=credential.revoked_at,
        )
    )


def find_credential(connection: Connection, credential_id: str) -> Credential | None:
    """Return the credential of this id, revoked or not, or None."""
    row = connection.execute(_CREDENTIAL, {"id": credential_id}).one_or_none()
    return None if row is None else _credential(row)


def find_with_applications(
    connection: Connection, credential_ids: Collection[str]
) -> dict[str, tuple[Credential, Application]]:
    """Return the credentials of these ids that there are, revoked or not, by id, each with its application.

    In one statement, so that both are of the same moment.
    """
    rows = connection.execute(_WITH_APPLICATIONS, {"ids": list(credential_ids)})
    split = len(_OF_CREDENTIAL)
    pairs = [(_credential(row[:split]), _application(row[split:])) for row in rows]
    return {credential.id: (credential, application) for credential, application in pairs}


def valid_credentials(connection: Connection, credential_ids: Collection[str]) -> set[str]:
    """Return those of the ids that name a credential which has not been revoked."""
    chosen = sa.select(credentials.c.id).where(
        credentials.c.id.in_(list(credential_ids)),
        credentials.c.revoked_at.is_(None),
        credentials.c.digest != b"",
    )
    return set(connection.execute(chosen).scalars())


def credentials_of(connection: Connection, application_id: str) -> list[Credential]:
    """Return the application's credentials, revoked ones too, oldest first."""
    chosen = sa.select(credentials).where(credentials.c.application_id == application_id)
    return [
        _credential(row)
        for row in connection.execute(chosen.order_by(credentials.c.created_at, credentials.c.id))
    ]


def revoke_credential(connection: Connection, credential_id: str, now: datetime) -> bool:
    """End the credential; False if it had ended before.

    Its digest is wiped: nobody makes it valid again by clearing the time, for the HSM alone could make the digest.
    """
    statement = (
        sa.update(credentials)
        .where(credentials.c.id == credential_id, credentials.c.revoked_at.is_(None))
        .values(revoked_at=now, digest=b"")
    )
    return connection.execute(statement).rowcount == 1


def _credential(row: Row[Any] | tuple[Any, ...]) -> Credential:
    values: dict[str, Any] = dict(zip(_OF_CREDENTIAL, row, strict=True))
    values["scopes"] = tuple(values["scopes"])
    return Credential(**values)


def _application(row: Row[Any] | tuple[Any, ...]) -> Application:
    values: dict[str, Any] = dict(zip(_OF_APPLICATION, row, strict=True))
    stored: dict[str, Any] = values["policy"]
    values["policy"] = policies.from_stored(stored)
    return Application(**values)
