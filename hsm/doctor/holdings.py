"""What is on the token, and how much room does it say it has?"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

from pkcs11 import Attribute
from pkcs11.exceptions import PKCS11Error

from hsm import ecdsa
from hsm.device import USER_LABEL
from hsm.doctor.bench import LABEL, Bench
from hsm.doctor.findings import Finding, Result
from hsm.handles import NotFound, find_all, find_labelled, read
from hsm.keys import ID_LENGTH, KeyKind, KeyRef

_STORED = 4  # objects by which the size of one is measured


def memory(bench: Bench) -> Finding:
    """CK_TOKEN_INFO before and after some keys were stored."""
    if bench.direct is None:
        remark = "the module hands out instances, so it was not asked"
        return Finding(trial="memory", result=Result.UNKNOWN, remark=remark)
    slot = bench.token.slot.slot_id
    before = bench.direct.token_numbers(slot)
    with suppress(PKCS11Error):  # another trial tells why
        for _ in range(_STORED):
            bench.secret(stored=True)
    after = bench.direct.token_numbers(slot)
    free, left = before["free_private"], after["free_private"]
    if free is None:
        return Finding(trial="memory", result=Result.UNKNOWN, remark="the module does not tell")
    size = None if left is None or left >= free else (free - left) / _STORED
    figures = {"total": before["total_private"], "free": free, "bytes_per_object": size}
    each = "how much a key takes, it does not tell" if size is None else f"a key takes {size:.0f}"
    remark = f"{free} bytes are free; {each}"
    return Finding(trial="memory", result=Result.WORKS, remark=remark, figures=figures)


def inventory(bench: Bench) -> Finding:
    """Every key, by whose it is. The names of users' keys are figures; they hold nothing of the users."""
    users: list[str] = []
    house: list[str] = []
    others = 0
    for kind in KeyKind:
        for each in find_all(bench.session, kind):
            values = read(each, Attribute.ID, Attribute.LABEL, Attribute.TOKEN)
            if values is None or not values[Attribute.TOKEN]:
                continue
            label, id_ = values[Attribute.LABEL] or "", values[Attribute.ID] or b""
            if label.startswith(USER_LABEL) and len(id_) == ID_LENGTH:
                users.append(KeyRef(kind, id_).uri())
            elif label.startswith("countersign-") and label != LABEL:
                house.append(f"{label} ({kind})")
            elif label != LABEL:
                others += 1
    twice = sorted(uri for uri, times in Counter(users).items() if times > 1)
    figures = {
        "user_keys": sorted(users),
        "house_keys": sorted(house),
        "others": others,
        "twice": twice,
        "point": _point(bench),
    }
    remark = f"{len(users)} keys of users, {len(house)} of the gateway, {others} others"
    if twice:
        remark += f"; {len(twice)} names are borne by several objects"
    result = Result.FAILS if twice else Result.WORKS
    return Finding(trial="inventory", result=result, remark=remark, figures=figures)


def _point(bench: Bench) -> str | None:
    """The point of the pair that the plan names, in hexadecimal; by it a database knows its token."""
    if not bench.plan.pair_label:
        return None
    try:
        found = find_labelled(bench.session, KeyKind.PUBLIC, bench.plan.pair_label)
    except NotFound:
        return None
    return ecdsa.public_point(bench.session, found).hex()
