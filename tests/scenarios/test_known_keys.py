"""Is an API key that the HSM recognised before refused as soon as anything of its row, or of itself, is another?"""

import asyncio
import secrets
from dataclasses import replace

import pytest

from gateway.refusals import Refusal
from gateway.scenarios import access
from gateway.scenarios.access import Asker, authenticate_application, make_credential
from gateway.scenarios.known_keys import KnownKeys
from gateway.store import applications
from gateway.store.applications import Credential
from hsm.device import Device
from hsm.errors import DeviceUnavailable
from tests.scenarios.bench import ORIGIN, Bench, run


def _key(bench: Bench, *scopes: str) -> tuple[Credential, str]:
    credential, key = make_credential(bench.ctx, bench.asker.application.id, scopes or ("user:read",))
    with bench.ctx.database.unit() as connection:
        applications.insert_credential(connection, credential)
    return credential, f"Bearer {key}"


async def _ask(bench: Bench, header: str) -> Asker:
    return await authenticate_application(bench.ctx, header, ORIGIN)


def _macs(bench: Bench, header: str, *, right: bool = True) -> int:
    def macs() -> int:
        return bench.device.snapshot().operations.get(("mac", "ok"), 0)

    before = macs()
    if right:
        run(_ask(bench, header))
    else:
        _refused(bench, header)
    return macs() - before


def _refused(bench: Bench, header: str) -> None:
    with pytest.raises(Refusal, match="unauthenticated"):
        run(_ask(bench, header))


def test_a_key_that_the_hsm_recognised_is_asked_about_once(bench: Bench) -> None:
    _, header = _key(bench)
    assert [_macs(bench, header) for _ in range(3)] == [1, 0, 0]


def test_a_wrong_key_costs_the_same_whether_its_row_is_known_there_or_unknown(bench: Bench) -> None:
    _, header = _key(bench)
    wrong = header[:-43] + secrets.token_urlsafe(32)
    assert _macs(bench, wrong, right=False) == 1
    run(_ask(bench, header))
    assert _macs(bench, wrong, right=False) == 1
    assert _macs(bench, f"Bearer csk_{'0' * 32}.{'A' * 43}", right=False) == 1


def test_a_known_key_is_refused_at_the_first_request_after_another_process_revoked_it(
    any_bench: Bench,
) -> None:
    credential, header = _key(any_bench)
    run(_ask(any_bench, header))
    with any_bench.ctx.database.unit() as connection:
        applications.revoke_credential(connection, credential.id, any_bench.clock.now())
    _refused(any_bench, header)
    any_bench.write("UPDATE credentials SET revoked_at = NULL WHERE id = :id", id=credential.id)
    _refused(any_bench, header)


def test_a_known_key_whose_scopes_were_widened_in_the_database_is_refused(bench: Bench) -> None:
    credential, header = _key(bench)
    run(_ask(bench, header))
    bench.write("""UPDATE credentials SET scopes = '["user:delete"]' WHERE id = :id""", id=credential.id)
    _refused(bench, header)


def test_each_of_several_that_ask_together_is_told_its_own(bench: Bench) -> None:
    _, first = _key(bench, "user:read")
    _, second = _key(bench, "policy:read")
    strange = f"Bearer csk_{'1' * 32}.{'A' * 43}"

    async def together() -> list[Asker | BaseException]:
        asked = (_ask(bench, header) for header in (first, strange, second, first))
        return await asyncio.gather(*asked, return_exceptions=True)

    found = run(together())
    scopes = [each.scopes if isinstance(each, Asker) else type(each) for each in found]
    assert scopes == [{"user:read"}, Refusal, {"policy:read"}, {"user:read"}]


def test_a_row_that_cannot_be_read_is_no_matter_of_who_asks_beside_it(bench: Bench) -> None:
    _, good = _key(bench)
    broken, header = _key(bench)
    bench.write("UPDATE credentials SET scopes = '7' WHERE id = :id", id=broken.id)

    async def together() -> list[Asker | BaseException]:
        return await asyncio.gather(_ask(bench, header), _ask(bench, good), return_exceptions=True)

    found = run(together())
    assert [isinstance(each, Asker) for each in found] == [False, True]


def test_a_known_key_does_not_wait_for_a_token_that_is_away(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, header = _key(bench)
    run(_ask(bench, header))

    def away(*_: object) -> bytes:
        raise DeviceUnavailable("away")

    monkeypatch.setattr(Device, "mac", away)
    assert run(_ask(bench, header)).scopes == {"user:read"}
    with pytest.raises(DeviceUnavailable):
        run(_ask(bench, header[:-43] + secrets.token_urlsafe(32)))


def test_what_is_kept_of_a_key_is_not_the_key_and_means_nothing_in_another_process(bench: Bench) -> None:
    credential, header = _key(bench)
    secret = header.partition(".")[2]
    one, other = KnownKeys(), KnownKeys()
    one.remember(credential, secret)
    other.remember(credential, secret)
    assert secret not in repr(vars(one))
    assert vars(one)["_known"] != vars(other)["_known"]


def test_the_oldest_key_gives_way(bench: Bench) -> None:
    credential, header = _key(bench)
    secret = header.partition(".")[2]
    rows = [replace(credential, id=name) for name in ("one", "two", "three")]
    known = KnownKeys(most=2)
    for each in rows:
        known.remember(each, secret)
    assert [known.knows(each, secret) for each in rows] == [False, True, True]


def test_the_rows_of_those_who_ask_together_are_read_together(bench: Bench) -> None:
    _, header = _key(bench)
    run(_ask(bench, header))
    readings: list[int] = []
    find_all = access._find_all

    def counted(connection: object, ids: list[str]) -> object:
        readings.append(len(ids))
        return find_all(connection, ids)  # type: ignore[arg-type]

    async def together() -> list[Asker]:
        return await asyncio.gather(*(_ask(bench, header) for _ in range(48)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(access, "_find_all", counted)
        assert len(run(together())) == 48
    assert (sum(readings), len(readings) <= 6) == (48, True)
