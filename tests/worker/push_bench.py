"""How do the tests of pushes get ready: phones with push addresses, push services, and a round of the worker."""

from dataclasses import replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from gateway.clock import Clock
from gateway.rules.push import PushProvider
from gateway.scenarios.context import Context
from gateway.settings import Settings
from gateway.worker.push.configured import make_providers
from gateway.worker.pushes import Waker
from tests.counterparts import push_apns
from tests.counterparts.phone import Phone
from tests.counterparts.push_apns import ApnsService
from tests.counterparts.push_fcm import FcmService
from tests.counterparts.push_server import b64url
from tests.gateways import Authority
from tests.scenarios.bench import Bench, run


def vapid_key(folder: Path) -> str:
    """Make the key of Web Push in the folder and return its public part as browsers subscribe with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "vapid.pem").write_bytes(pem)
    return b64url(key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))


def settings_for(
    folder: Path,
    authority: Authority,
    fcm: FcmService | None = None,
    apns: ApnsService | None = None,
    **more: object,
) -> Settings:
    """Return settings with the services there are; Web Push is one of them once its key is in the folder."""
    named: dict[str, object] = {"push_ca_file": authority.ca_file, "push_private_addresses": True}
    if (folder / "vapid.pem").exists():
        named |= {"push_web_key_file": folder / "vapid.pem", "push_web_contact": "mailto:push@bank.example"}
    if fcm is not None:
        named |= {"push_fcm_account_file": fcm.write_account(folder / "fcm.json"), "push_fcm_url": fcm.url}
    if apns is not None:
        named |= {
            "push_apns_key_file": apns.write_key(folder / "apns.p8"),
            "push_apns_key_id": push_apns.KEY_ID,
            "push_apns_team_id": push_apns.TEAM,
            "push_apns_topic": push_apns.TOPIC,
            "push_apns_url": apns.url,
        }
    return Settings(**(named | more))  # type: ignore[arg-type]


async def wake_due(ctx: Context, settings: Settings, clock: Clock, seconds_most: float = 20) -> int:
    """Make one try of what is due and see it to its end; return how many."""
    waker = Waker(ctx, make_providers(settings, clock), seconds_most)
    try:
        return await waker.start_due()
    finally:
        await waker.close()


def wake(bench: Bench, settings: Settings, seconds_most: float = 20) -> int:
    """Run ``wake_due`` on the bench."""
    return run(wake_due(bench.ctx, settings, bench.clock, seconds_most))


def enrol(bench: Bench, user: str, provider: PushProvider | str, push_id: str) -> Phone:
    """Create a user whose phone registers with a push address."""
    run(bench.create_user(user))
    phone = bench.phone(run(bench.issue(user)))
    body = phone.registration_body(push={"provider": str(provider), "identifier": push_id})
    run(bench.ask(phone, "keys.register", body))
    phone.account = replace(phone.account, registered=True)
    return phone


def waiting(bench: Bench) -> list[tuple[int, int]]:
    """Return version and tries of each device that is to be woken."""
    return [
        (row.version, row.tries) for row in bench.rows("SELECT version, tries FROM pushes ORDER BY device_id")
    ]


def addresses(bench: Bench) -> list[tuple[str | None, str | None]]:
    """Return provider and address of each device."""
    return [tuple(row) for row in bench.rows("SELECT push_provider, push_id FROM devices ORDER BY id")]


def push_events(bench: Bench) -> list[tuple[str, str]]:
    """Return result and reason of what the log says of push addresses."""
    rows = bench.rows("SELECT result, reason FROM events WHERE type = 'device.push_dropped' ORDER BY number")
    return [tuple(row) for row in rows]
