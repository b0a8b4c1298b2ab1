"""Does each kind of failure get its remedy, and only that, when a module fails in every way it can?"""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.hsm.programs import Program

Run = Callable[[str], Program]

# What follows runs on the shim: `shim` gives orders, `device` has one key, `asked` counts calls into the module.
OPEN = """
import json
from hsm.errors import *
from hsm.limits import Limits
from hsm.pace import Pace
from tests.hsm.misbehaving import FUNCTIONS

def opened(**limits):
    return Device.open(URI, limits=Limits(**{"sessions": 4, "wait_seconds": 20, "pace": PACE} | limits))

def outcome(work):
    try: work()
    except DeviceError as exc: return type(exc).__name__
    return "ok"

def wait_until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)

PACE = Pace(first=0.02, longest=0.1, most_initialisations=10_000)
NOTICED = ["C_Login", "C_OpenSession", "C_FindObjectsInit", "C_Initialize"]
device = opened()
device.create_house_key("binding")
key = device.house_key("binding")
expected = device.mac(key, b"x")
"""

TRY_CODES = """
def attempt(function, code, times):
    for _ in range(5): device.mac(key, b"x")  # fills every place of the pool again
    before = [shim.calls(name) for name in NOTICED]
    shim.order(function, answer=code, times=times, after=int(function == "C_Sign"))  # C_Sign ends what is begun
    answer = []
    result = outcome(lambda: answer.append(device.mac(key, b"x")))
    shim.obey_no_more()
    wait_until(lambda: device.snapshot().state == "well")
    assert answer in ([], [expected])
    return [result, *(shim.calls(name) - old for name, old in zip(NOTICED, before))]

print(json.dumps([attempt(*case) for case in CASES]))
os._exit(0)
"""

# function, code, how often it fails -> what the caller gets, and logins, sessions, searches, initialisations
CALLER = {code: ["DeviceRefused", 0, 0, 0, 0] for code in (0x20, 0x21, 0x68, 0x70, 0x71, 0x1B, 0x07)}
LOOKS_BROKEN = {code: ["DeviceRefused", 0, 0, 0, 0] for code in (0x05, 0x06, 0x02, 0x31, 0x30, 0x80000387)}
CASES = {
    **{("C_Sign", code, 1): seen for code, seen in (CALLER | LOOKS_BROKEN).items()},
    ("C_SignInit", 0x60, 1): ["ok", 0, 0, 1, 0],  # the handle of the key: found again
    ("C_SignInit", 0x82, 1): ["ok", 0, 0, 1, 0],
    ("C_SignInit", 0xB3, 1): ["ok", 0, 1, 0, 0],  # the session: one new one
    ("C_Sign", 0xB0, 1): ["ok", 0, 1, 0, 0],
    ("C_SignInit", 0x90, 1): ["ok", 0, 1, 0, 0],
    # The login: operation, canary, canary once more, then one login, its session, four of the pool; no
    # initialisation. One session of the pool is fresh in the second attempt; the key is looked up again.
    ("C_SignInit", 0x101, 3): ["ok", 1, 6, 1, 0],
    # The device: the login alone does not help (its new canary fails as well), so the module is initialised.
    ("C_SignInit", 0x30, 4): ["ok", 2, 7, 1, 1],
    ("C_SignInit", 0x05, 4): ["ok", 2, 7, 1, 1],
    ("C_SignInit", 0x80000387, 4): ["ok", 2, 7, 1, 1],
}


def test_every_return_code_gets_its_remedy_and_no_more(misbehaving_program: Run):
    done = misbehaving_program(OPEN + f"CASES = {list(CASES)}\n" + TRY_CODES)
    seen = json.loads(done.lines()[-1])
    assert dict(zip(CASES, seen, strict=True)) == CASES


AWAY = """
broken = [name for name in FUNCTIONS if name not in ("C_GetFunctionList", "C_Initialize", "C_Finalize")]
device.close()
device = opened(pace=Pace(first=30, longest=30))
shim.order(*broken, answer=0x30)
print(outcome(lambda: device.mac(key, b"x")), device.snapshot().state)
before = shim.calls()
refusals = []
for _ in range(200):
    try: device.mac(key, b"x")
    except DeviceUnavailable as exc: refusals.append(exc.retry_after_seconds)
print(len(refusals), min(refusals) > 10, max(refusals) <= 30, shim.calls() - before)
shot = device.snapshot()
print(shot.failed_attempts, shot.reinitialisations, 10 < shot.seconds_to_next_attempt < 30)
os._exit(0)
"""


def test_while_the_device_is_away_callers_are_told_when_it_is_tried_again_and_none_gets_into_the_module(
    misbehaving_program: Run,
):
    assert misbehaving_program(OPEN + AWAY).lines() == [
        "DeviceUnavailable away",
        "200 True True 0",
        "1 1 True",
    ]


BACK = """
shim.order(*(name for name in FUNCTIONS if name != "C_Finalize"), answer=0x30)
results = collections.Counter()
over = threading.Event()

def work(_):
    while not over.is_set():
        results[outcome(lambda: device.mac(key, b"x") == expected or results.update(["wrong"]))] += 1
        time.sleep(0.001)

threads = [threading.Thread(target=work, args=(each,)) for each in range(8)]
for thread in threads: thread.start()
wait_until(lambda: device.snapshot().failed_attempts > 5)
shim.obey_no_more()
before = results["ok"]
wait_until(lambda: results["ok"] > before + 100)
over.set()
for thread in threads: thread.join()
print(sorted(results), device.snapshot().recoveries)
device.close()
"""


def test_a_device_that_was_away_for_several_attempts_comes_back_by_itself(misbehaving_program: Run):
    assert misbehaving_program(OPEN + BACK).lines() == ["['DeviceUnavailable', 'ok'] 1"]


RATE = """
device.close()
device = opened(pace=Pace(first=0.001, longest=0.001, most_initialisations=5, period=1000))
shim.order(*(name for name in FUNCTIONS if name != "C_Finalize"), answer=0x30)
before = shim.calls("C_Initialize")
outcome(lambda: device.mac(key, b"x"))
wait_until(lambda: device.snapshot().seconds_to_next_attempt > 100)
print(shim.calls("C_Initialize") - before, device.snapshot().reinitialisations)
os._exit(0)
"""


def test_the_module_is_not_initialised_more_often_than_allowed(misbehaving_program: Run):
    assert misbehaving_program(OPEN + RATE).lines() == ["5 5"]


PIN = """
logins = shim.calls("C_Login")
shim.order("C_Login", answer=0xA4)
shim.order("C_SignInit", answer=0x101, times=3)
for _ in range(20): outcome(lambda: device.mac(key, b"x"))
shim.obey_no_more()
for _ in range(20): outcome(lambda: device.mac(key, b"x"))
time.sleep(0.5)
print(shim.calls("C_Login") - logins, device.snapshot().state, outcome(lambda: device.random(1)))
os._exit(0)
"""


def test_a_pin_that_is_refused_is_tried_once_and_never_again(misbehaving_program: Run):
    assert misbehaving_program(OPEN + PIN).lines() == ["1 stopped DeviceUnavailable"]


HALF_DONE = """
user = KeyRef(KeyKind.SECRET, secrets.token_bytes(16))
issue = lambda: device.issue(secrets.token_bytes(32), [user.id], "countersign-user-khmac")
# The copy is stored, but the module says that it was not; the device is well, so it is removed.
shim.order("C_CopyObject", answer=0x30, times=1, after=1)
print(outcome(issue), len(device.user_keys()))
# The same, and then the device is lost: what may be left is not made a second time.
shim.order("C_CopyObject", answer=0x30, times=1, after=1)
shim.order("C_FindObjectsInit", answer=0x30, times=1)
shim.order("C_SignInit", answer=0x30, times=1)
print(outcome(issue))
shim.obey_no_more()
print(outcome(lambda: device.mac(user, b"x")), device.user_keys() == [user], device.destroy(user))
device.close()
"""


def test_a_delivery_whose_end_is_unknown_is_undone_or_not_tried_again(misbehaving_program: Run):
    assert misbehaving_program(OPEN + HALF_DONE).lines() == [
        "DeviceRefused 0",
        "DeviceUnavailable",
        "ok True True",
    ]


HANG = """
told = threading.Event()
device.close()
device = Device.open(
    URI, limits=Limits(sessions=2, most_waiting=3, wait_seconds=60, call_seconds=3), on_hung=told.set
)
shim.order("C_Sign", hang=1)
results = collections.Counter()

def work(_):
    results[outcome(lambda: device.mac(key, b"x"))] += 1

threads = [threading.Thread(target=work, args=(each,), daemon=True) for each in range(5)]
for thread in threads: thread.start()
wait_until(lambda: device.snapshot().waiting == 3 and shim.hanging() == 2)
print(outcome(lambda: device.random(1)), device.is_hung)  # the queue is full
told.wait(60)
wait_until(lambda: results["DeviceUnavailable"] == 3)  # those that waited
before = shim.calls()
print(outcome(lambda: device.random(1)), outcome(lambda: device.create_house_key("webhook")))
print(dict(results), device.is_hung, device.snapshot().state, shim.calls() - before, shim.hanging())
sys.stdout.flush()
os._exit(0)  # what a process has to do then
"""


def test_a_call_that_does_not_come_back_frees_all_who_wait_and_tells_the_process(misbehaving_program: Run):
    assert misbehaving_program(OPEN + HANG).lines() == [
        "DeviceUnavailable False",
        "DeviceUnavailable DeviceUnavailable",
        "{'DeviceUnavailable': 3} True hung 0 2",
    ]


LEAK = """
open_before = shim.calls("C_OpenSession") - shim.calls("C_CloseSession")
logins = shim.calls("C_Login")
for _ in range(TIMES):
    shim.order("C_SignInit", answer=0xB3, times=1)
    assert device.mac(key, b"x") == expected
device.random(1)
left = shim.calls("C_OpenSession") - shim.calls("C_CloseSession") - open_before
print(left <= 1, shim.calls("C_OpenSession") > TIMES, shim.calls("C_Login") - logins)
for _ in range(TIMES // 20):
    shim.order("C_SignInit", answer=0x101, times=3)
    assert device.mac(key, b"x") == expected
    wait_until(lambda: device.snapshot().state == "well")
left = shim.calls("C_OpenSession") - shim.calls("C_CloseSession") - open_before
print(left <= 1, shim.calls("C_Login") - logins, device.snapshot().recoveries)
device.close()
print(shim.calls("C_OpenSession") - shim.calls("C_CloseSession"), shim.calls("C_Logout"))
"""


@pytest.mark.parametrize("times", [400, pytest.param(10_000, marks=pytest.mark.long)])
def test_sessions_and_logins_that_are_renewed_are_not_leaked(misbehaving_program: Run, times: int):
    renewals = times // 20
    assert misbehaving_program(OPEN + f"TIMES = {times}\n" + LEAK).lines() == [
        "True True 0",
        f"True {renewals} {renewals}",
        "0 0",
    ]


# C_SignInit and C_Sign: the length of the answer is known, and not asked for.
COUNT = """
before = shim.calls()
device.mac(key, b"x")
print(shim.calls() - before)
shot = device.snapshot()
print(shot.operations["mac", "ok"], shot.latencies["mac"].count, shot.latencies["mac"].within[-1])
print(shot.sessions, shot.in_use, shot.waiting, shot.state, shot.epoch, shot.recoveries)
device.close()
"""


def test_a_mac_is_two_calls_into_the_module_and_is_counted(misbehaving_program: Run):
    assert misbehaving_program(OPEN + COUNT).lines() == ["2", "2 2 2", "4 0 0 well 0 0"]
