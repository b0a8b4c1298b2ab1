"""What the calls about users with their keysets and devices do, and the one about the callback secret."""

from gateway.api.application import models
from gateway.api.application.asking import Ask
from gateway.api.application.qr import qr_of
from gateway.api.problems import Reply, json_reply
from gateway.refusals import Refusal
from gateway.rules.keyset import Delivery
from gateway.rules.user import UserAction
from gateway.scenarios import activation, deliveries, device_lifecycle, personalization, user_lifecycle
from gateway.scenarios.context import Context
from gateway.scenarios.packaging import Sealing
from gateway.scenarios.personalization import Given
from gateway.wire import base64s
from gateway.wire.package import qr_text
from gateway.wire.rsakey import LEAST_BITS_SEALED, rsa_from_spki
from gateway.wire.wrapping import OAEP_HASHES


async def put_user(ctx: Context, ask: Ask) -> Reply:
    """Create a user."""
    view, new = await user_lifecycle.create_user(ctx, ask.asker.application, ask.path["user_id"], ask.origin)
    return json_reply(201 if new else 200, view)


async def get_user(ctx: Context, ask: Ask) -> Reply:
    """Read a user."""
    return json_reply(200, await user_lifecycle.fetch_user(ctx, ask.asker.application, ask.path["user_id"]))


async def delete_user(ctx: Context, ask: Ask) -> Reply:
    """Delete a user."""
    return await _change(ctx, ask, UserAction.DELETE, "application")


async def block_user(ctx: Context, ask: Ask) -> Reply:
    """Block a user."""
    body: models.BlockUser = ask.body
    return await _change(ctx, ask, UserAction.BLOCK, body.reason or "application")


async def unblock_user(ctx: Context, ask: Ask) -> Reply:
    """Unblock a user."""
    return await _change(ctx, ask, UserAction.UNBLOCK, None)


async def _change(ctx: Context, ask: Ask, action: UserAction, reason: str | None) -> Reply:
    view = await user_lifecycle.change_user(
        ctx, ask.asker.application, ask.path["user_id"], action, reason, ask.origin
    )
    return json_reply(200, view)


async def list_keysets(ctx: Context, ask: Ask) -> Reply:
    """Read the keysets of a user."""
    view = await user_lifecycle.fetch_user(ctx, ask.asker.application, ask.path["user_id"])
    return json_reply(200, {"keysets": view["keysets"]})


async def list_devices(ctx: Context, ask: Ask) -> Reply:
    """Read the devices of a user."""
    found = await device_lifecycle.list_devices(ctx, ask.asker.application, ask.path["user_id"])
    return json_reply(200, {"devices": found})


async def get_device(ctx: Context, ask: Ask) -> Reply:
    """Read one device."""
    view = await device_lifecycle.fetch_device(
        ctx, ask.asker.application, ask.path["user_id"], ask.path["device_id"]
    )
    return json_reply(200, view)


async def remove_device(ctx: Context, ask: Ask) -> Reply:
    """Remove one device."""
    view = await device_lifecycle.remove_device(
        ctx, ask.asker.application, ask.path["user_id"], ask.path["device_id"], ask.origin
    )
    return json_reply(200, view)


async def issue_keyset(ctx: Context, ask: Ask) -> Reply:
    """Make keys for a user."""
    body: models.IssueKeyset = ask.body
    issued = await personalization.issue_keyset(
        ctx, ask.asker, ask.path["user_id"], Delivery(body.delivery), _given(body), ask.once, ask.origin
    )
    package = issued.package.encode()
    qr = None if body.delivery == "sealed" else await qr_of(qr_text(package), pictures=body.pictures)
    view = {"keyset": issued.keyset, "package": base64s.encode(package), "qr": qr}
    return json_reply(201, view)


def _given(body: models.IssueKeyset) -> Given:
    if body.wrap_key is None and body.oaep is None:
        return Given(secret=body.secret, device_id=body.device)
    if body.wrap_key is None or body.oaep is None or len(set(body.oaep)) != len(body.oaep):
        detail = "wrap_key and oaep come together, and no hash twice."
        raise Refusal("malformed_request", "wrap_key and oaep", detail=detail)
    spki = base64s.decode(body.wrap_key, what="wrap_key")
    modulus, exponent = rsa_from_spki(spki, least_bits=LEAST_BITS_SEALED)
    hashes = tuple(OAEP_HASHES[name] for name in body.oaep)
    sealing = Sealing(modulus, exponent, hashes)
    return Given(secret=body.secret, sealing=sealing, device_id=body.device)


async def fetch_code(ctx: Context, ask: Ask) -> Reply:
    """Give out an activation code."""
    code = await activation.give_activation_code(
        ctx, ask.asker, ask.path["user_id"], ask.path["keyset_id"], ask.origin
    )
    return json_reply(200, {"activation_code": code})


async def rotate_secret(ctx: Context, ask: Ask) -> Reply:
    """Make the next callback secret."""
    secret, version = await deliveries.rotate_webhook_secret(ctx, ask.asker, ask.origin)
    return json_reply(200, {"secret": secret, "version": version})
