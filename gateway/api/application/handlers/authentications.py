"""What the calls about authentications do."""

from gateway.api.application import authentication_forms as forms
from gateway.api.application.asking import Ask
from gateway.api.application.handlers.transactions import content_of
from gateway.api.application.paging import page_of
from gateway.api.problems import Reply, json_reply
from gateway.scenarios import authentications_passed_on as scenario
from gateway.scenarios.authentications_passed_on import PassedOn, Typed
from gateway.scenarios.context import Context
from gateway.wire import base64s
from gateway.wire import signature as signatures
from gateway.wire.bodies import Proofs
from gateway.wire.code import parse_code
from gateway.wire.text import MEDIA_TYPE_BYTES, check_id, check_text


async def pass_on(ctx: Context, ask: Ask) -> Reply:
    """Authenticate a user by what the phone gave the application."""
    body: forms.PassAuthenticationOn = ask.body
    check_id(body.user, what="user")
    given = Typed(rule=body.rule or "", digits=body.code) if body.is_typed else _passed_on(body)
    return json_reply(201, await scenario.pass_on(ctx, ask.asker, body.user, given, ask.origin))


def _passed_on(body: forms.PassAuthenticationOn) -> PassedOn:
    media_type = body.media_type or ""
    check_text(media_type, what="media_type", most_bytes=MEDIA_TYPE_BYTES)
    der = None if body.signature is None else base64s.decode(body.signature, what="signature")
    shown = Proofs(
        step=body.step or 0,
        code=parse_code(body.code),
        signature=None if der is None else signatures.raw_from_der(der),
        signature_der=der,
    )
    return PassedOn(media_type=media_type, content=content_of(body.text, body.content), shown=shown)


async def get(ctx: Context, ask: Ask) -> Reply:
    """Read one authentication."""
    return json_reply(200, await scenario.fetch_authentication(ctx, ask.asker, ask.path["authentication_id"]))


async def list_page(ctx: Context, ask: Ask) -> Reply:
    """Read a page of a user's authentications."""
    views = await scenario.list_authentications(
        ctx, ask.asker, ask.path["user_id"], after=ask.query.get("after"), limit=ask.limit
    )
    return page_of(ask, "authentications", views)
