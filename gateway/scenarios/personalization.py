"""How does a user get keys: planned in a row, made in the HSM, adopted by a keyset, delivered once.

First a row names what is about to be made, then the objects are made, and the keyset is written last. So a row knows of
whatever a killed process leaves on the token, and the sweep destroys it.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from gateway.ids import new_id
from gateway.refusals import Refusal
from gateway.rules.keyset import Delivery, Keyset
from gateway.rules.policy import Policy
from gateway.rules.secret_strength import BITS_LEAST, is_strong
from gateway.rules.user import User
from gateway.rules.user_settings import policy_for
from gateway.scenarios import keynames
from gateway.scenarios.access import Asker
from gateway.scenarios.adoption import Issue, Planned, look
from gateway.scenarios.context import Context
from gateway.scenarios.idempotency import Once, claim, release
from gateway.scenarios.issuing import Adopted, adopt
from gateway.scenarios.packaging import Plan, Sealing
from gateway.scenarios.recording import Origin
from gateway.scenarios.representation import keyset_view
from gateway.store import keysets, loose_keys, users
from gateway.store.applications import Application
from gateway.store.database import Connection
from gateway.wire.package import Package

_MOST = 8  # requests that are served together
_AT_ONCE = 3  # such groups: one makes keys, the others compute what keys are wrapped under, or write


@dataclass(frozen=True, slots=True)
class Given:
    """What an application gives for a delivery: a secret with ``online``, a key of the device with ``sealed``.

    ``device_id`` is the device whose keys are replaced; None: the keys are for another one.
    """

    secret: str | None = None
    sealing: Sealing | None = None
    device_id: str | None = None


@dataclass(frozen=True, slots=True)
class Issued:
    """A fresh keyset and the package that brings it to the phone; equivalent to the keys with ``qr``."""

    keyset: dict[str, Any]
    package: Package


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request for new keys, as it came."""

    asker: Asker
    user_id: str
    delivery: Delivery
    given: Given
    once: Once
    origin: Origin

    @property
    def named(self) -> tuple[str, str]:
        """Whose keys: application and user."""
        return self.asker.application.id, self.user_id


async def issue_keyset(
    ctx: Context,
    asker: Asker,
    user_id: str,
    delivery: Delivery,
    given: Given,
    once: Once,
    origin: Origin,
) -> Issued:
    """Make new keys for the user: for one more device where there is room, else in place of those before.

    Args:
        ctx: the parts.
        asker: the application.
        user_id: whose keys.
        delivery: how they travel.
        given: what the application gave for this way.
        once: the request's idempotency key.
        origin: where the request came from.

    Raises:
        Refusal: ``not_found``, ``user_blocked``, ``user_deleted``, ``devices_full``, ``not_allowed_by_policy``,
            ``already_delivered``.
        BrokenBinding: a keyset of the user, or the user's state, is not what the HSM vouched for.
    """
    asked = _Asked(asker, user_id, delivery, given, once, origin)
    if given.secret is None:
        return await ctx.room(_issue_together, _MOST, _AT_ONCE).ask(asked)
    # By itself: the many rounds over a chosen secret keep nobody else waiting.
    (issued,) = await _issue_together(ctx, [asked])
    if isinstance(issued, Exception):
        raise issued
    return issued


async def _issue_together(ctx: Context, batch: list[_Asked]) -> list[Issued | Exception]:
    """Issue keys to all who asked for some meanwhile; what is refused to one is nobody else's matter."""
    # In one order, so that two units that have users in common do not wait for each other in a circle.
    order = sorted(range(len(batch)), key=lambda place: batch[place].named)
    planned = await ctx.unit_of_all(partial(_plan_all, ctx), [batch[place] for place in order])
    good = [each for each in planned if not isinstance(each, Exception)]
    adopted = iter(await adopt(ctx, good))
    issued = [
        each if isinstance(each, Exception) else await _ended(ctx, each.issue, next(adopted))
        for each in planned
    ]
    return [issued[order.index(place)] for place in range(len(batch))]


async def _ended(ctx: Context, issue: Issue, adopted: Adopted | Exception) -> Issued | Exception:
    """Return what came of it; what was planned in vain is given up."""
    if isinstance(adopted, Exception):
        (given_up,) = await ctx.unit_of_all(partial(_give_up, ctx.clock.now()), [issue])
        return given_up or adopted
    return Issued(keyset_view(adopted.keyset, adopted.device), adopted.package)


def _make_plan(ctx: Context, asked: _Asked, policy: Policy) -> Plan:
    delivery, given = asked.delivery, asked.given
    _check_secret(delivery, given.secret, policy)
    if (delivery is Delivery.SEALED) != (given.sealing is not None):
        detail = "wrap_key and oaep belong to the delivery sealed, and only there."
        raise Refusal("malformed_request", "key and delivery do not fit", detail=detail)
    plan = new_plan(ctx, asked.asker.application, policy, asked.user_id, delivery, given.device_id)
    return replace(plan, given_secret=given.secret, sealing=given.sealing)


def new_plan(
    ctx: Context,
    application: Application,
    policy: Policy,
    user_id: str,
    delivery: Delivery,
    device_id: str | None,
) -> Plan:
    """Return a plan for new keys with new names.

    Args:
        ctx: the parts.
        application: whose user.
        policy: as it is for the user.
        user_id: whose keys.
        delivery: how they travel.
        device_id: whose keys they replace; None: they are for a new device.
    """
    now = ctx.clock.now()
    return Plan(
        application_id=application.id,
        user_id=user_id,
        keyset_id=new_id("ks", now),
        device_id=device_id or new_id("dev", now),
        is_new_device=device_id is None,
        delivery=delivery,
        khmac=keynames.new_secret(ctx, policy.residency),
        kauth=keynames.new_secret(ctx, policy.residency),
        salt=secrets.token_bytes(16),
        policy=policy,
        policy_version=application.policy_version,
        now=now.replace(microsecond=0),
    )


def _check_secret(delivery: Delivery, given_secret: str | None, policy: Policy) -> None:
    if (delivery is Delivery.ONLINE) != (given_secret is not None):
        detail = "A secret belongs to the delivery online, and only there."
        raise Refusal("malformed_request", "secret and delivery do not fit", detail=detail)
    if given_secret is None:
        return
    if not policy.weak_secret and not is_strong(given_secret):
        detail = f"The secret needs {BITS_LEAST} random bits: 25 digits, 20 of hexadecimal, 16 of base32, 14 others."
        raise Refusal("not_allowed_by_policy", "weak secret", detail=detail)


def _plan_all(ctx: Context, connection: Connection, batch: Sequence[_Asked]) -> list[Planned]:
    """Decide what is to be made, and note it before it is made."""
    ids = {asked.named for asked in batch}
    known, present = users.find_users(connection, ids), keysets.keysets_of_users(connection, ids)
    planned = [
        _decide(ctx, connection, asked, known.get(asked.named), present[asked.named]) for asked in batch
    ]
    names = [(uri, each.issue.plan.keyset_id) for each in planned for uri in each.issue.plan.stored]
    loose_keys.plan_all(connection, names, ctx.clock.now().replace(microsecond=0))
    return planned


def _decide(
    ctx: Context, connection: Connection, asked: _Asked, user: User | None, present: Sequence[Keyset]
) -> Planned:
    asker = asked.asker
    policy = policy_for(asker.application.policy, None if user is None else user.settings)
    plan = _make_plan(ctx, asked, policy)
    issue = Issue(asker, plan, asked.once, asked.origin)
    if claim(connection, asker, asked.once, plan.now) is not None:
        raise Refusal("already_delivered", "repeated issue")
    return Planned(issue, look(connection, issue, user, present))


def _give_up(now: datetime, connection: Connection, issues: Sequence[Issue]) -> list[None]:
    """Have what was planned destroyed by the next sweep, and free the idempotency keys."""
    for issue in issues:
        loose_keys.doom_unowned(connection, issue.plan.stored, issue.plan.keyset_id, now)
        release(connection, issue.asker, issue.once)
    return [None] * len(issues)
