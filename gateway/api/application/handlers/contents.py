"""What the call does that takes content by itself."""

from gateway.api.application.asking import Ask
from gateway.api.problems import Reply, json_reply
from gateway.scenarios import uploads
from gateway.scenarios.context import Context


async def receive(ctx: Context, ask: Ask) -> Reply:
    """Keep content for a transaction to come."""
    return json_reply(201, await uploads.receive_content(ctx, ask.asker, ask.body, ask.origin))
