"""How are the doors, and the post of the worker, made from settings and a context?

Apart from ``assembly``, so that a command that serves nothing does not load what serves.
"""

import ssl

from starlette.types import ASGIApp

from gateway.api.application.door import application_door
from gateway.api.client.door import client_door
from gateway.api.large_bodies import LargeBodies
from gateway.api.requests import Peers
from gateway.api.throttle import Throttle
from gateway.pem_files import read_pem
from gateway.scenarios.context import Context
from gateway.settings import Settings
from gateway.worker.posting import Post


def make_doors(settings: Settings, context: Context) -> dict[str, ASGIApp]:
    """Return the doors by the name of their role."""
    peers = Peers.named(filter(None, (part.strip() for part in settings.trusted_proxies.split(","))))
    most = settings.failed_requests_per_minute
    return {
        "application": application_door(
            context, peers, Throttle(most, context.clock), LargeBodies(settings.large_requests_most)
        ),
        "client": client_door(context, peers, Throttle(most, context.clock)),
    }


def make_post(settings: Settings) -> Post:
    """Return how callbacks are posted."""
    cafile = None if settings.callback_ca_file is None else str(settings.callback_ca_file)
    return Post(
        tls=read_pem(lambda: ssl.create_default_context(cafile=cafile), "CALLBACK_CA_FILE"),
        private_addresses=settings.callback_private_addresses,
        seconds_most=settings.callback_seconds_most,
    )
