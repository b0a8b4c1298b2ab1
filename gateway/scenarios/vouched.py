"""Which rows of keys did the HSM vouch for lately, exactly as they are now?

The MAC over the same bytes under the same key is always the same. So the token need not be asked again about a row that
was found to be bound while every value of it is unchanged, its MAC and its user's state included. The row itself is
read anew for each request: what is remembered never says what is in the database.
"""

from threading import Lock

from gateway.rules.keyset import Keyset
from gateway.rules.user import UserStatus

_MOST = 4096  # rows; some kilobytes each


class Vouched:
    """Rows with the user's state that goes with them; the oldest gives way. Safe for threads."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._rows: dict[str, tuple[Keyset, UserStatus]] = {}  # by the keyset's id
        self._changing = Lock()

    def knows(self, keyset: Keyset, user_status: UserStatus) -> bool:
        """Say whether the HSM vouched for exactly this."""
        return self._rows.get(keyset.id) == (keyset, user_status)

    def remember(self, keyset: Keyset, user_status: UserStatus) -> None:
        """Remember that the HSM vouched for this."""
        with self._changing:
            self._rows[keyset.id] = keyset, user_status
            if len(self._rows) > self._most:
                del self._rows[next(iter(self._rows))]
