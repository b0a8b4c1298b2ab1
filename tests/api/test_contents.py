"""Does content that is handed in by itself become what one user is asked, once, and is it refused where it must be?"""

import base64
import hashlib
import secrets
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa

from gateway.store.tables import contents, uploads
from gateway.store.transactions import PART_BYTES
from tests.counterparts.bank import Bank
from tests.counterparts.phone import Phone
from tests.counterparts.phone_line import NetworkFailure
from tests.counterparts.phone_tlv import b64
from tests.journeys.stage import Json, Stage

PATH = "/v1/contents"
PDF, CHUNKED = "application/pdf", "in chunks"
CONTENT = secrets.token_bytes(2 * PART_BYTES + 77)
DIGEST = b64(hashlib.sha256(CONTENT).digest())


def _in_pieces(content: bytes = CONTENT, size: int = 10_000) -> Iterator[bytes]:
    yield from (content[start : start + size] for start in range(0, len(content), size))


def _problem(stage: Stage, answer: httpx2.Response) -> tuple[int, str]:
    """Status and code; every refusal to an authenticated bank is an event."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    assert [line["type"] for line in stage.recorded(answer)] == ["application.refused"]
    return answer.status_code, answer.json()["code"]


def _send(stage: Stage, content: Any, bank: Bank | None = None, **headers: str) -> httpx2.Response:
    return (bank or stage.bank).request(
        "POST", PATH, content=content, headers={"Content-Type": PDF} | headers
    )


def _left(stage: Stage, name: str) -> tuple[int, int]:
    """How many rows there are of an upload, and of its parts."""
    with stage.database() as connection:
        counts = [
            sa.select(sa.func.count()).where(column == name)
            for column in (uploads.c.id, contents.c.transaction_id)
        ]
        return connection.execute(counts[0]).scalar_one(), connection.execute(counts[1]).scalar_one()


def _refused(stage: Stage) -> list[Json]:
    return [
        line for line in stage.events(type="application.refused") if line["reason"] == "the caller went away"
    ]


def _everything(stage: Stage) -> tuple[int, int]:
    """How many rows there are of all uploads and of their parts; those of transactions go when these end."""
    with stage.database() as connection:
        parts = sa.select(sa.func.count()).where(contents.c.transaction_id.like("cnt\\_%", escape="\\"))
        counts = [sa.select(sa.func.count()).select_from(uploads), parts]
        return connection.execute(counts[0]).scalar_one(), connection.execute(counts[1]).scalar_one()


@pytest.mark.parametrize("content", [CONTENT, CONTENT[:PART_BYTES], b"%"], ids=["parts", "part", "byte"])
@pytest.mark.parametrize("how", ["with its length", CHUNKED])
def test_what_is_handed_in_is_what_the_phone_shows_and_signs(
    stage: Stage, phone: Phone, content: bytes, how: str
) -> None:
    made = stage.bank.upload(_in_pieces(content) if how == CHUNKED else content)
    digest = b64(hashlib.sha256(content).digest())
    assert (made["size"], made["content_sha256"], made["media_type"]) == (len(content), digest, PDF)
    asked = stage.bank.create_transaction(phone.account.user, content_id=made["id"])
    assert (asked["size"], asked["content_sha256"], asked["media_type"]) == (len(content), digest, PDF)
    shown = phone.show(asked["id"])
    assert shown.content == content
    assert _left(stage, made["id"]) == (0, 0)
    assert phone.approve(shown)["status"] == "confirmed"
    assert _left(stage, asked["id"]) == (0, 0)
    given = stage.bank.transaction(asked["id"])["confirmation"]
    evidence = {name: given[name] for name in ("step", "code", "signature")}
    assert stage.bank.verify(asked["id"], content=b64(content), **evidence)["valid"]


def test_the_log_tells_of_the_content_and_by_its_id_of_the_transaction(stage: Stage, phone: Phone) -> None:
    answer = _send(stage, CONTENT)
    made = answer.json()
    [line] = stage.recorded(answer)
    assert (line["type"], line["body_sha256"]) == ("content.received", base64.b64decode(DIGEST))
    assert line["detail"] == {"content_id": made["id"], "media_type": PDF, "size": len(CONTENT)}
    asked = stage.bank.create_transaction(phone.account.user, content_id=made["id"])
    [created] = stage.events(transaction=asked["id"])
    assert created["detail"]["content_id"] == made["id"]


def _ask(stage: Stage, phone: Phone, key: str | None = None, bank: Bank | None = None, **body: object) -> Any:
    headers = {"Idempotency-Key": key or secrets.token_hex(16)}
    sent = {"user": phone.account.user, **body}
    return (bank or stage.bank).request("POST", "/v1/transactions", json=sent, headers=headers)


def test_content_serves_one_transaction_and_repeating_its_request_gives_that(
    stage: Stage, phone: Phone
) -> None:
    made, key = stage.bank.upload(CONTENT), secrets.token_hex(16)
    first = _ask(stage, phone, key, content_id=made["id"])
    again = _ask(stage, phone, key, content_id=made["id"])
    assert (first.status_code, again.status_code) == (201, 201)
    assert (again.json(), again.headers["idempotency-replayed"]) == (first.json(), "true")
    assert _problem(stage, _ask(stage, phone, content_id=made["id"])) == (404, "not_found")
    other = _ask(stage, phone, key, content_id=stage.bank.upload(b"x")["id"])
    assert _problem(stage, other) == (422, "idempotency_mismatch")


def test_content_that_was_refused_a_transaction_serves_another(stage: Stage, phone: Phone) -> None:
    made = stage.bank.upload(CONTENT)
    nobody = _ask(stage, phone, user="nobody", content_id=made["id"])
    assert _problem(stage, nobody) == (404, "not_found")
    assert _ask(stage, phone, content_id=made["id"]).status_code == 201


def test_another_applications_content_is_not_there(stage: Stage, phone: Phone) -> None:
    made = stage.foreign.upload(CONTENT)
    assert _problem(stage, _ask(stage, phone, content_id=made["id"])) == (404, "not_found")
    assert _left(stage, made["id"]) == (1, 3)


BODIES: dict[str, Json] = {
    "with text as well": {"text": "Pay", "media_type": "text/plain"},
    "with content as well": {"content": "QQ==", "media_type": PDF},
    "with a media type": {"media_type": PDF},
    "as a number": {"content_id": 5},
    "empty": {"content_id": ""},
    "too long": {"content_id": "c" * 65},
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_transaction_names_content_in_one_way(stage: Stage, phone: Phone, body: Json) -> None:
    made = {"content_id": "cnt_1"} | body
    assert _problem(stage, _ask(stage, phone, **made)) == (400, "malformed_request")


@pytest.mark.parametrize(
    ("headers", "given"),
    [
        ({"Content-Type": "text/plain; charset=utf-8"}, "text/plain; charset=utf-8"),
        ({"Content-Type": "Application/PDF"}, PDF),
        ({"Content-Type": "application/vnd.etsi.asic-e+zip"}, "application/vnd.etsi.asic-e+zip"),
    ],
    ids=lambda value: None if isinstance(value, dict) else value,
)
def test_the_media_type_is_that_of_the_request(stage: Stage, headers: dict[str, str], given: str) -> None:
    assert _send(stage, b"x", **headers).json()["media_type"] == given


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "pdf"},
        {"Content-Type": ""},
        {"Content-Type": "application/" + "x" * 127},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Encoding": "gzip"},
    ],
    ids=str,
)
def test_what_does_not_say_what_it_is_is_refused(stage: Stage, headers: dict[str, str]) -> None:
    before = _everything(stage)
    assert _problem(stage, _send(stage, b"x", **headers)) == (415, "unsupported_media_type")
    assert _everything(stage) == before


@pytest.mark.parametrize("content", [b"", []], ids=["with its length", "in chunks"])
def test_nothing_is_no_content(stage: Stage, content: Any) -> None:
    before = _everything(stage)
    assert _problem(stage, _send(stage, content)) == (400, "malformed_request")
    assert _everything(stage) == before


@pytest.mark.parametrize("how", ["with its length", CHUNKED])
def test_content_beyond_the_limit_is_refused_and_nothing_of_it_stays(stage: Stage, how: str) -> None:
    before, most = _everything(stage), 16 * 2**20
    content = b"x" * (most + 1)
    answer = _send(stage, _in_pieces(content, 2**20) if how == CHUNKED else content)
    assert _problem(stage, answer) == (413, "too_large")
    assert _everything(stage) == before


def test_a_caller_who_goes_away_leaves_nothing(stage: Stage) -> None:
    before = _everything(stage)

    def broken() -> Iterator[bytes]:
        yield CONTENT
        raise ConnectionError

    with pytest.raises(ConnectionError):
        stage.bank.upload(broken())
    end = time.monotonic() + 20
    while not _refused(stage):
        assert time.monotonic() < end
        time.sleep(0.02)
    assert _everything(stage) == before


@pytest.mark.parametrize(
    "changed",
    [
        {"content_sha256": hashlib.sha256(b"other").digest()},
        {"size": 1},
        {"media_type": "text/plain"},
        {"mac": bytes(32)},
        {"mac": None},
        {"size": -1},
    ],
    ids=str,
)
def test_a_row_that_somebody_wrote_is_no_content(stage: Stage, phone: Phone, changed: Json) -> None:
    made = stage.bank.upload(CONTENT)
    with stage.database() as connection:
        connection.execute(sa.update(uploads).where(uploads.c.id == made["id"]).values(**changed))
    assert _problem(stage, _ask(stage, phone, content_id=made["id"])) == (409, "integrity_failure")


def test_a_row_that_was_moved_to_another_application_is_no_content(stage: Stage, phone: Phone) -> None:
    made = stage.foreign.upload(CONTENT)
    mine = stage.keys["application"]
    with stage.database() as connection:
        connection.execute(sa.update(uploads).where(uploads.c.id == made["id"]).values(application_id=mine))
    assert _problem(stage, _ask(stage, phone, content_id=made["id"])) == (409, "integrity_failure")


def test_parts_that_somebody_wrote_before_the_transaction_are_never_signed(
    stage: Stage, phone: Phone
) -> None:
    made = stage.bank.upload(CONTENT)
    with stage.database() as connection:
        mine = sa.update(contents).where(contents.c.transaction_id == made["id"], contents.c.part == 1)
        connection.execute(mine.values(data=secrets.token_bytes(PART_BYTES)))
    asked = stage.bank.create_transaction(phone.account.user, content_id=made["id"])
    with pytest.raises(NetworkFailure, match="not the one that was announced"):
        phone.show(asked["id"])
