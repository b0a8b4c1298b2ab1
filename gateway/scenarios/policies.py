"""How does an application decide its policy, and what did an earlier version of it say?"""

from typing import Any

from gateway.refusals import Refusal
from gateway.rules import policy as policies
from gateway.rules.event import EventType
from gateway.scenarios.access import Asker
from gateway.scenarios.context import Context
from gateway.scenarios.recording import Origin, make_event, record
from gateway.store import applications
from gateway.store.applications import Application, PolicyVersion
from gateway.store.database import Connection
from gateway.wire.timestep import format_time


def policy_view(application: Application) -> dict[str, Any]:
    """Return the policy in force with its version."""
    return {"version": application.policy_version, "policy": policies.to_json(application.policy)}


def _require_possible(ctx: Context, policy: policies.Policy) -> None:
    if policy.residency is policies.Residency.DERIVED and not ctx.device.can_derive:
        errors = ({"pointer": "/residency", "detail": "this token cannot derive keys"},)
        raise Refusal("malformed_request", "policy that the token cannot keep", errors=errors)


async def put_policy(ctx: Context, asker: Asker, values: dict[str, Any], origin: Origin) -> dict[str, Any]:
    """Put a policy in force; refuses unknown names and values out of bounds."""
    policy = policies.from_json(values)
    _require_possible(ctx, policy)

    def write(connection: Connection) -> int:
        version = applications.replace_policy(connection, asker.application.id, policy, ctx.clock.now())
        event = make_event(
            EventType.POLICY_CHANGED,
            "changed",
            ctx.clock.now(),
            origin,
            application_id=asker.application.id,
            detail={"version": version, "policy": values},
        )
        record(connection, [event])
        return version

    return {"version": await ctx.unit(write), "policy": policies.to_json(policy)}


async def fetch_policy(ctx: Context, asker: Asker, version: int) -> dict[str, Any]:
    """Return the policy that had this version. Raises Refusal ``not_found``."""
    found = await ctx.reading(applications.find_policy, asker.application.id, version)
    if found is None:
        raise Refusal("not_found", "no such version of the policy")
    return _version_view(found)


async def list_policies(ctx: Context, asker: Asker, after: int, limit: int) -> list[dict[str, Any]]:
    """Return a page of the policies there were, oldest first."""
    found = await ctx.reading(applications.list_policies, asker.application.id, after, limit)
    return [_version_view(each) for each in found]


def _version_view(found: PolicyVersion) -> dict[str, Any]:
    return {"version": found.version, "since": format_time(found.created_at), "policy": found.policy}
