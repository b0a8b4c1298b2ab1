"""What becomes of a keyset that ends, and of its keys that nobody needs any more?

The row gets its last state and is bound again by the HSM. Salts of derived keys are taken out of it; objects on the
token are left to the sweep.
"""

from dataclasses import replace
from datetime import datetime

from gateway.rules import keyset as keyset_rules
from gateway.rules.keyset import Keyset, KeysetAction, spent_keys
from gateway.rules.user import UserStatus
from gateway.scenarios import bindings, keynames
from gateway.scenarios.context import Context
from gateway.store import loose_keys, transactions
from gateway.store.database import Connection


def ended_by(
    ctx: Context,
    keyset: Keyset,
    action: KeysetAction,
    user_status: UserStatus,
    now: datetime,
    *,
    answered: bool = True,
) -> Keyset:
    """Return the keyset as it is after this action has ended it. Talks to the device.

    Args:
        ctx: the parts.
        keyset: an open one, for which the HSM vouched.
        action: what ends it.
        user_status: the state of its user, which is under the same MAC.
        now: the moment of its end.
        answered: whether answers may have been given with it, which are verified with its Khmac for ever.
    """
    status = keyset_rules.next_status(keyset.status, action)
    ended = replace(keyset, status=status, ended_at=now)
    return bindings.bind(ctx, keynames.without_spent(ctx, ended, answered=answered), user_status)


def doom_spent(connection: Connection, ended: Keyset, now: datetime) -> None:
    """Leave the spent keys of an ended keyset to the sweep, in the unit that ends it.

    The user's row is locked by then, and whoever keeps an answer locks it as well: so none comes after this look.
    Without it whoever has keys made again and again would fill the token with keys that nobody ever used.
    """
    answered = ended.registered_at is not None or transactions.was_used(connection, ended.id)
    spent = keynames.on_token(spent_keys(ended, answered=answered))
    loose_keys.doom_keys(connection, spent, ended.id, now)
