"""Can an operator ask the doctor about the token of a gateway that is running?"""

import json

import pytest
import sqlalchemy as sa

from gateway.store.tables import keysets
from hsm.doctor.catalogue import TRIALS
from tests.journeys.stage import DATABASES, Stage
from tests.tokens import pin_file_of

# How the command ends depends on none.
on_one_database = pytest.mark.parametrize("stage", DATABASES[-1:], indirect=True, scope="session")


def test_the_doctor_finds_the_token_of_a_running_gateway_well_and_every_key_in_its_place(stage: Stage):
    keyset = stage.phone(bank=stage.bank_with(residency="resident")).account.keyset
    with stage.database() as connection:
        chosen = sa.select(keysets.c.khmac, keysets.c.kauth, keysets.c.kpublic).where(keysets.c.id == keyset)
        theirs = set(connection.execute(chosen).one())
    ended = stage.gateway.run("doctor", "--capacity", "10000", "--json")
    told = json.loads(ended.stdout)
    assert set(told) == {"version", "countersign", "status", "verdicts", "trials", "keys", "forecast"}
    assert (told["version"], told["status"]) == (1, 0)
    assert [each["trial"] for each in told["trials"]] == list(TRIALS)
    # Other tests of this stage forge rows, and leave keys that no row names.
    assert set(told["keys"]) == {"orphans", "missing", "why_unknown"}
    assert told["keys"]["why_unknown"] == ""
    assert theirs.isdisjoint(told["keys"]["orphans"])
    assert keyset not in json.dumps(told["keys"]["missing"])
    assert told["forecast"]["objects_per_day"] > 0
    assert told["forecast"]["full_at"] is not None
    assert pin_file_of(stage.gateway.token_uri).read_text().strip() not in ended.stdout + ended.stderr


@on_one_database
def test_the_doctor_says_by_its_status_that_a_mode_is_not_what_it_should_be(stage: Stage):
    ended = stage.gateway.run("doctor", "--need", "sealed", check=False)
    assert ended.returncode == 1
    assert ended.stdout.rstrip().endswith("usable with restrictions (exit status 1)")


@on_one_database
def test_the_doctor_that_cannot_begin_says_so_with_status_2(stage: Stage):
    ended = stage.gateway.run("doctor", "--token", "pkcs11:token=somewhere", check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "module-path" in ended.stderr
    label = stage.gateway.token_uri.partition("?")[0]
    ended = stage.gateway.run(
        "doctor",
        "--json",
        "--token",
        stage.gateway.token_uri.replace(label, "pkcs11:token=none"),
        check=False,
    )
    assert ended.returncode == 2
    assert json.loads(ended.stdout)["keys"]["why_unknown"] == "the token could not be read"
