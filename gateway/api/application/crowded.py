"""Does a body hold more values than any call takes: told before it is read, which takes a hundred times as long?

Read as JSON, 24 MB of empty lists or unknown members are ten seconds of a core and gigabytes. What makes a body of a
right call large is one string: the content.
"""

VALUES_MOST = 1000  # the largest policy has less than a hundred
SMALL_BYTES = 8 * 1024  # of which nobody notices how they are read


def is_crowded(raw: bytes) -> bool:
    """Say whether a JSON text has more lists, objects, strings and commas than belong to as many values as may be.

    A text that is not JSON is nobody's matter here.
    """
    if len(raw) <= SMALL_BYTES:
        return False
    # Without escaped backslashes, a backslash before a quote escapes it; without those, every quote begins or ends.
    plain = raw.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in raw else raw
    found, at = 0, 0
    while found <= 2 * VALUES_MOST:  # a member is a string and a comma
        begin = plain.find(b'"', at)
        end = len(plain) if begin < 0 else begin
        found += sum(plain.count(sign, at, end) for sign in (b",", b"[", b"{"))
        if begin < 0:
            break
        found += 1
        at = plain.find(b'"', begin + 1) + 1
        if not at:
            break
    return found > 2 * VALUES_MOST
