"""What is said when bytes are not exactly what the wire format allows?"""


class WireError(ValueError):
    """Bytes or values outside the wire format.

    `reason` is a short stable code (docs/reference/wire.md lists them); `what` names the part it was found in
    and may be empty. Neither ever holds the offending bytes, so the text is safe to log.
    """

    def __init__(self, reason: str, what: str = "") -> None:
        super().__init__(f"{reason}: {what}" if what else reason)
        self.reason = reason
        self.what = what
