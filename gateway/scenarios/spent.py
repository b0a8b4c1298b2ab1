"""Which keys does nobody need any more when a keyset has ended? They are left to the sweep."""

from datetime import datetime

from gateway.rules.keyset import Keyset, spent_keys
from gateway.scenarios import keynames
from gateway.store import loose_keys, transactions
from gateway.store.database import Connection


def doom_spent(connection: Connection, ended: Keyset, now: datetime) -> None:
    """Leave them to the sweep, in the unit that ends the keyset.

    The user's row is locked by then, and whoever keeps an answer locks it as well: so none comes after this look.
    Without it whoever has keys made again and again would fill the token with keys that nobody ever used.
    """
    answered = ended.registered_at is not None or transactions.was_used(connection, ended.id)
    spent = keynames.on_token(spent_keys(ended, answered=answered))
    loose_keys.doom_keys(connection, spent, ended.id, now)
