"""What the calls about policies do: the one in force, those before, and what is decided for one user."""

from gateway.api.application import models, policy_forms
from gateway.api.application.asking import Ask
from gateway.api.application.paging import page_of
from gateway.api.problems import Reply, json_reply
from gateway.refusals import Refusal
from gateway.scenarios import policies, user_settings
from gateway.scenarios.context import Context

_DIGITS_MOST = 9


async def get_policy(_ctx: Context, ask: Ask) -> Reply:
    """Read the policy."""
    return json_reply(200, policies.policy_view(ask.asker.application))


async def put_policy(ctx: Context, ask: Ask) -> Reply:
    """Replace the policy."""
    body: models.PutPolicy = ask.body
    try:
        return json_reply(200, await policies.put_policy(ctx, ask.asker, body.policy.root, ask.origin))
    except Refusal as refusal:
        raise refusal.within("policy") from None


async def list_versions(ctx: Context, ask: Ask) -> Reply:
    """Read a page of the policies there were."""
    found = await policies.list_policies(ctx, ask.asker, ask.number("after", 0), ask.limit)
    return page_of(ask, "versions", found, by="version")


async def get_version(ctx: Context, ask: Ask) -> Reply:
    """Read the policy that had a version."""
    named = ask.path["version"]
    if not (named.isascii() and named.isdigit() and len(named) <= _DIGITS_MOST):
        raise Refusal("not_found", "no number of a version")
    return json_reply(200, await policies.fetch_policy(ctx, ask.asker, int(named)))


async def put_settings(ctx: Context, ask: Ask) -> Reply:
    """Decide flags and password rules for one user."""
    body: policy_forms.PutUserSettings = ask.body
    try:
        view = await user_settings.put_settings(
            ctx, ask.asker, ask.path["user_id"], body.settings.root, ask.origin
        )
    except Refusal as refusal:
        raise refusal.within("settings") from None
    return json_reply(200, view)
