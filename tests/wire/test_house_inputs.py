"""Do the bytes that the gateway's own keys authenticate stay what they are, and is none of them another?"""

from gateway.wire import house_inputs

DIGEST = bytes(range(32))


def test_the_bytes_of_an_api_key_do_not_depend_on_the_order_of_its_scopes():
    made = house_inputs.api_key_input("key_1", "app_1", ["user:write", "user:read"], "s")
    assert made == b"\x80\x05key_1\x81\x05app_1\x82\x14user:read user:write\x83\x01s"


def test_the_bytes_of_a_request_name_its_application():
    assert house_inputs.request_input("app_1", DIGEST) == b"\x84\x05app_1\x85\x20" + DIGEST


def test_the_bytes_of_an_upload_hold_all_that_a_transaction_takes_from_it():
    made = house_inputs.upload_input("cnt_1", "app_1", "text/plain", 258, DIGEST)
    size = b"\x89\x08\0\0\0\0\0\0\x01\x02"
    assert made == b"\x86\x05cnt_1\x87\x05app_1\x88\x0atext/plain" + size + b"\x8a\x20" + DIGEST


def test_the_bytes_of_an_activation_code_are_of_one_keyset():
    made = house_inputs.activation_input("app_1", "ks_1", b"salt")
    assert made == b"\x80\x05app_1\x81\x04ks_1\x82\x04salt"


def test_no_two_kinds_under_the_credential_key_begin_alike():
    kinds = (
        house_inputs.api_key_input("a", "a", [], "a"),
        house_inputs.request_input("a", DIGEST),
        house_inputs.upload_input("a", "a", "a", 1, None),
    )
    assert len({made[0] for made in kinds}) == len(kinds)
