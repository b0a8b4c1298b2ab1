"""Which push services do the settings name, and can they be used as they are named?"""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from gateway.clock import Clock
from gateway.rules.push import SECONDS_MOST, PushProvider
from gateway.settings import PREFIX, Settings, SettingsError
from gateway.worker.posting import Post
from gateway.worker.push.apns import Apns
from gateway.worker.push.fcm import Account, Fcm
from gateway.worker.push.provider import Provider
from gateway.worker.push.web_push import WebPush

T = TypeVar("T")


def make_providers(settings: Settings, clock: Clock) -> dict[PushProvider, Provider]:
    """Return the push services of the settings, by their name on the wire; none is no error.

    Raises:
        SettingsError: a file is missing or holds something else, or a setting that belongs to it is empty.
    """
    made: dict[PushProvider, Provider] = {}
    if settings.push_web_key_file is not None:
        made[PushProvider.WEB_PUSH] = _web_push(settings, settings.push_web_key_file, clock)
    if settings.push_fcm_account_file is not None:
        account = _read(Account.read, settings.push_fcm_account_file, "push_fcm_account_file")
        made[PushProvider.FCM] = Fcm(account, settings.push_fcm_url.rstrip("/"), _tls(settings), clock)
    if settings.push_apns_key_file is not None:
        made[PushProvider.APNS] = _apns(settings, settings.push_apns_key_file, clock)
    return made


def _web_push(settings: Settings, file: Path, clock: Clock) -> WebPush:
    _require(settings, "push_web_key_file", "push_web_contact")
    post = Post(
        tls=_tls(settings), private_addresses=settings.push_private_addresses, seconds_most=SECONDS_MOST
    )
    hosts = frozenset(filter(None, (name.strip().lower() for name in settings.push_web_hosts.split(","))))
    key = _read(_p256_key, file, "push_web_key_file")
    return WebPush(post=post, clock=clock, key=key, contact=settings.push_web_contact, hosts=hosts)


def _apns(settings: Settings, file: Path, clock: Clock) -> Apns:
    _require(settings, "push_apns_key_file", "push_apns_key_id", "push_apns_team_id", "push_apns_topic")
    return Apns(
        _read(_p256_key, file, "push_apns_key_file"),
        settings.push_apns_key_id,
        settings.push_apns_team_id,
        settings.push_apns_topic,
        url=settings.push_apns_url.rstrip("/"),
        tls=_tls(settings),
        clock=clock,
    )


def _require(settings: Settings, given: str, *needed: str) -> None:
    for name in needed:
        if not getattr(settings, name):
            raise SettingsError(f"{_name(given)} is set: set {_name(name)} as well.")


def _p256_key(file: Path) -> ECKey:
    key = ECKey.import_key(file.read_bytes())
    if not key.is_private or key.curve_name != "P-256":
        raise ValueError("not a private key on P-256")
    return key


def _tls(settings: Settings) -> ssl.SSLContext:
    if settings.push_ca_file is None:
        return ssl.create_default_context()
    return _read(
        lambda file: ssl.create_default_context(cafile=str(file)), settings.push_ca_file, "push_ca_file"
    )


def _read(read: Callable[[Path], T], file: Path, name: str) -> T:
    try:
        return read(file)
    except OSError as error:  # ssl.SSLError is one
        why = error.strerror or type(error).__name__
    except (JoseError, TypeError, ValueError):  # the text may quote the file: it is a secret
        why = "it does not hold what it should"
    raise SettingsError(f"Cannot use the file of {_name(name)}: {why}.")


def _name(setting: str) -> str:
    return PREFIX + setting.upper()
