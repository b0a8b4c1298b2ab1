"""Does a gateway with two tokens go on when the first is lost: without a wrong answer, and without losing a key?"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import pytest
import structlog

from gateway import assembly
from gateway.api.client.door import _reply
from gateway.metrics import registry
from gateway.rules.user import UserAction
from gateway.scenarios import house_values, housekeeping, rotation
from gateway.scenarios.authentication import ClientRequest
from gateway.scenarios.questions import Question
from gateway.scenarios.together import Together
from gateway.scenarios.token_watch import shown
from gateway.scenarios.verification import verify_signature
from gateway.scenarios.version_watch import VersionWatch
from gateway.settings import Settings
from gateway.store import house_keys
from gateway.wire.request import parse_envelope
from hsm.device import Device
from hsm.errors import DeviceUnavailable, KeyElsewhere
from hsm.housecheck import HouseName, check_value
from hsm.keys import KeyRef
from hsm.limits import Limits
from hsm.tokens import Tokens
from tests.counterparts.phone import Phone
from tests.counterparts.phone_account import Shown
from tests.hsm.remote import Remote
from tests.hsm.test_remote import wait_until
from tests.hsm.twins import LIMITS, NOISE, served_copy
from tests.scenarios.bench import ORIGIN, Bench, opened_bench, run
from tests.store.databases import migrated_database

pytestmark = NOISE
USERS = ("alice", "bob", "carol", "dave")


@dataclass
class Two:
    """Two gateways on one database: the one with two tokens, of which the first can be killed, and the one before."""

    bench: Bench
    tokens: Tokens
    first: Remote
    near: Device  # the second token
    phones: dict[str, Phone]

    def names(self, user: str) -> list[KeyRef]:
        """The keys of a user."""
        issued = self.bench.keyset(self.phones[user].account.keyset)
        return [KeyRef.parse(name) for name in (issued.khmac, issued.kauth, issued.kpublic or "")]

    def bring_back(self) -> None:
        self.first.start()
        wait_until(lambda: self.tokens.standings()[0].serves)


@pytest.fixture(scope="module")
def two(
    tmp_path_factory: pytest.TempPathFactory, token_directory: Path, own_device: Device, own_device_uri: str
) -> Iterator[Two]:
    """Users enrolled on one token, which then gets a twin before it in the list."""
    folder = tmp_path_factory.mktemp("two")
    with ExitStack() as parts:
        database = parts.enter_context(migrated_database("sqlite", folder))
        assembly.prepare(database, own_device)
        before = parts.enter_context(opened_bench(database, own_device))
        phones = {user: run(before.enrol(user)) for user in USERS}
        first = served_copy(own_device_uri, folder, token_directory)
        parts.callback(first.stop)
        tokens = Tokens.open([first.uri, own_device_uri], replace(LIMITS, sessions=8))
        parts.callback(tokens.close)
        settings = Settings(client_url="https://127.0.0.1:1", database_connections=8, token_sessions=8)
        context = assembly.make_context(settings, database, tokens, before.clock)
        ctx = parts.enter_context(context)
        tokens.compare()
        wait_until(lambda: tokens.standings()[0].serves)
        yield Two(Bench(ctx, before.clock, before.asker), tokens, first, own_device, phones)


def _shown(name: str) -> Shown:
    about = {"kind": "sign", "title": "Payment", "media_type": "text/plain", "digits": 8, "expires": ""}
    return Shown(transaction=name, content=b"Pay 10 EUR", **about)


async def _confirm(bench: Bench, phone: Phone, answered: list[float]) -> None:
    """Confirm anew until it is answered, as phones do after 503."""
    user = phone.account.user
    while True:
        try:
            name = await bench.ask_to_confirm(user)
            view = await bench.approve(phone, await bench.show(phone, name))
        except DeviceUnavailable:
            await asyncio.sleep(0.01)
        else:
            assert view["status"] == "confirmed"
            answered.append(time.monotonic())
            return


def test_confirmations_go_on_while_the_first_token_is_lost(two: Two) -> None:
    answered: list[float] = []
    lost: list[float] = []

    async def work(phone: Phone) -> None:
        while not lost or sum(moment > lost[0] for moment in answered) < 8:
            await _confirm(two.bench, phone, answered)

    async def lose() -> None:
        while len(answered) < 8:  # noqa: ASYNC110 - it looks at what phones do, who wait for nobody
            await asyncio.sleep(0.01)
        await asyncio.to_thread(two.first.stop)
        lost.append(time.monotonic())

    async def all_of_it() -> None:
        await asyncio.gather(lose(), *(work(phone) for phone in two.phones.values()))

    run(all_of_it())
    assert [two.bench.failures(user) for user in USERS] == [0] * len(USERS)
    assert [each.serves for each in two.tokens.standings()] == [False, True]
    two.bring_back()
    run(_confirm(two.bench, two.phones["alice"], answered))
    print(f"the next answer came {min(m for m in answered if m > lost[0]) - lost[0]:.3f} s after the loss")  # noqa: T201


def test_who_has_keys_on_the_lost_token_alone_is_told_to_come_again_and_nothing_is_lost(two: Two) -> None:
    for key in two.names("bob"):
        two.near.destroy(key)
    two.first.stop()
    content = _shown(run(two.bench.ask_to_confirm("bob")))
    with pytest.raises(KeyElsewhere):
        run(two.bench.approve(two.phones["bob"], content))
    assert run(housekeeping.sweep_keys(two.bench.ctx)) == 0
    assert two.bench.failures("bob") == 0
    assert not two.bench.unbound()
    two.bring_back()
    assert run(two.bench.approve(two.phones["bob"], content))["status"] == "confirmed"


def test_in_a_batch_nobody_waits_for_the_token_that_another_needs(two: Two) -> None:
    two.first.stop()
    requests = [_request(two, user) for user in ("bob", "carol")]

    async def decide() -> list[object]:
        answers = Together(two.bench.ctx, _reply)
        return list(await asyncio.gather(*(answers.decide(request) for request in requests)))

    assert run(decide()) == [None, None]  # each is asked for alone then
    two.bring_back()


def test_of_those_who_ask_together_the_one_whose_keys_are_on_the_lost_token_alone_comes_again(
    two: Two,
) -> None:
    questions = []
    for user in ("bob", "carol"):
        name = run(two.bench.ask_to_confirm(user))
        run(two.bench.approve(two.phones[user], _shown(name)))
        ((step, code),) = two.bench.rows(f"SELECT step, code FROM attempts WHERE transaction_id = '{name}'")  # noqa: S608
        asked = {"about_id": name, "operation": "approve", "step": step, "code": bytes(code)}
        questions.append(Question(**asked, content_sha256=None, signature=None))
    two.first.stop()

    async def ask() -> list[object]:
        asked = [verify_signature(two.bench.ctx, two.bench.asker, each, ORIGIN) for each in questions]
        return list(await asyncio.gather(*asked, return_exceptions=True))

    of_bob, of_carol = run(ask())
    assert isinstance(of_bob, KeyElsewhere)
    assert isinstance(of_carol, dict)
    assert of_carol["valid"]
    two.bring_back()


def _request(two: Two, user: str) -> ClientRequest:
    phone = two.phones[user]
    content = _shown(run(two.bench.ask_to_confirm(user)))
    raw = phone.envelope("transactions.approve", phone.confirmation_body(content, 1))
    code = phone.authcode(raw)
    origin = replace(ORIGIN, action="transactions.approve", authcode=code)
    return ClientRequest(
        raw=raw, envelope=parse_envelope(raw, "transactions.approve"), authcode=code, origin=origin
    )


def test_a_key_is_destroyed_on_every_token_or_stays_on_the_list(two: Two) -> None:
    keys = two.names("dave")
    two.first.stop()
    run(two.bench.change("dave", UserAction.DELETE))
    doomed = two.bench.rows("SELECT uri FROM loose_keys WHERE doomed_at IS NOT NULL")
    assert doomed
    with pytest.raises(KeyElsewhere):
        run(housekeeping.sweep_keys(two.bench.ctx))
    assert two.bench.rows("SELECT uri FROM loose_keys WHERE doomed_at IS NOT NULL") == doomed
    gone = {KeyRef.parse(row.uri) for row in doomed}
    assert gone < set(keys)
    assert not gone & set(two.near.user_keys())
    two.bring_back()
    assert run(housekeeping.sweep_keys(two.bench.ctx)) == len(doomed)
    assert not two.bench.rows("SELECT uri FROM loose_keys")
    assert not gone & set(two.tokens.user_keys())


def test_what_happens_to_a_token_is_told_once(two: Two) -> None:
    watch = two.bench.ctx.token_watch
    watch.look()
    two.first.stop()
    with pytest.raises(DeviceUnavailable):
        two.tokens._all.members[0].required().random(1)
    with structlog.testing.capture_logs() as lines:
        watch.look()
        watch.look()
    told = {token: [line["event"] for line in lines if line["token"] == token] for token in (1, 2)}
    assert told[2] == ["a token serves"]
    # It is tried again and again, so a look may find either; what is found twice is not told again.
    assert told[1]
    assert set(told[1]) <= {"a token is away", "a token is recovering"}
    assert all(before != after for before, after in pairwise(told[1]))
    assert [(each["state"] == "well", each["serves"]) for each in shown(two.tokens)] == [
        (False, False),
        (True, True),
    ]
    two.bring_back()


def test_a_rotation_makes_a_version_on_one_token_and_nobody_uses_it_before_the_other_has_it(two: Two) -> None:
    ctx = two.bench.ctx
    for _ in range(2):  # run again too early, it makes no third version
        with pytest.raises(DeviceUnavailable, match="binding 2 is made on one token"):
            run(rotation.rotate_binding(ctx, lambda _: None, 0))
    assert ctx.keys.binding.numbers == [1]
    assert shown(two.tokens)[1]["awaited"] == ["countersign-binding-2"]
    assert two.tokens.destroy_house_key("binding", 2) is True
    assert shown(two.tokens)[1]["awaited"] == []


def test_a_process_that_made_no_version_tells_as_well_which_token_has_to_get_it(two: Two) -> None:
    ctx = two.bench.ctx
    watch = VersionWatch(ctx.device, ctx.keys, ctx.database, ctx.clock)
    first = two.tokens._all.members[0].required()
    assert first.create_house_key("binding", 2) is True  # by another process
    watch.look()
    told = [each["awaited"] for each in shown(two.tokens)]
    assert two.tokens.destroy_house_key("binding", 2) is True
    assert ["countersign-binding-2"] in told


def test_the_figures_tell_of_each_token(two: Two) -> None:
    published = registry(two.bench.ctx, "client", has_worker=False)
    for token, serves in (("1", 1.0), ("2", 0.0)):
        assert published.get_sample_value("countersign_device_serving", {"token": token}) == serves
        assert published.get_sample_value("countersign_device_differences", {"token": token}) == 0
        labels = {"token": token, "kind": "mac", "outcome": "ok"}
        assert (published.get_sample_value("countersign_device_operations_total", labels) or 0) > 0
    assert (published.get_sample_value("countersign_device_takeovers_total") or 0) > 0


def test_a_token_with_another_key_of_the_gateway_is_an_alarm_whoever_is_there_first(
    two: Two, own_device_uri: str
) -> None:
    assert two.near.house_key("webhook") == two.tokens.house_key("webhook")
    with ExitStack() as parts:
        alone = Tokens.open([own_device_uri], Limits(sessions=2))
        parts.callback(alone.close)
        two.bench.write("UPDATE house_keys SET value = :value WHERE name = 'webhook'", value=bytes(32))
        house_values.expect_noted(alone, two.bench.ctx.database)
        with pytest.raises(DeviceUnavailable, match="countersign-webhook-1 is another key"):
            assembly.find_house_keys(alone)
        assert alone.standings()[0].differences == ("countersign-webhook-1 is another key",)


def test_a_version_that_the_database_notes_is_learned_while_a_token_is_away(two: Two) -> None:
    """Last of all: the first token lacks it, and may not serve any more."""
    assert two.near.create_house_key("binding", 2) is True
    new = HouseName("binding", 2)
    two.first.stop()
    wait_until(lambda: two.tokens.random(1) != b"" and two.tokens.standings()[1].serves)
    two.bench.ctx.keys.refresh()
    assert two.bench.ctx.keys.binding.numbers == [1]  # nobody knows that the other has it
    values = {("binding", 2): check_value(two.near, new, {})}
    run(two.bench.ctx.unit(house_keys.note_house_keys, values, two.bench.clock.now()))
    house_values.learn_noted(two.tokens, two.bench.ctx.database)
    two.bench.ctx.keys.refresh()
    assert two.bench.ctx.keys.binding.numbers == [1, 2]
    edition = two.tokens._all.edition
    house_values.learn_noted(two.tokens, two.bench.ctx.database)
    assert two.tokens._all.edition == edition  # nothing new, nobody is asked
