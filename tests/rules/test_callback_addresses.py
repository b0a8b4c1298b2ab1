"""Where may a callback go: origins, odd addresses, and which IP addresses count as public."""

import pytest

from gateway.refusals import Refusal
from gateway.rules.callback_address import is_public, parse_address, require_allowed

REGISTERED = "https://bank.example/callbacks?system=7"


@pytest.mark.parametrize(
    "url",
    [
        "https://bank.example/callbacks?system=7",
        "https://bank.example",
        "https://bank.example/other/path?and=query",
        "https://bank.example:443/explicit-port",
        "HTTPS://BANK.EXAMPLE/in-capitals",
    ],
)
def test_a_transaction_may_name_any_path_of_the_registered_origin(url: str):
    require_allowed(url, REGISTERED)


@pytest.mark.parametrize(
    "url",
    [
        "http://bank.example/callbacks",
        "https://bank.example:8443/",
        "https://bank.example:80/",
        "https://www.bank.example/",
        "https://bank.example.evil.example/",
        "https://evil.example/https://bank.example/",
        "https://evil.example?bank.example",
        "https://evil.example/@bank.example",
        "https://bank.example./",
    ],
)
def test_another_origin_is_refused(url: str):
    with pytest.raises(Refusal) as refused:
        require_allowed(url, REGISTERED)
    assert refused.value.problem.code == "not_allowed_by_policy"


def test_without_a_registered_address_no_transaction_may_name_one():
    with pytest.raises(Refusal):
        require_allowed("https://bank.example/", None)


def test_an_explicit_default_port_is_the_same_origin_in_both_directions():
    require_allowed("https://bank.example/", "https://bank.example:443/x")
    require_allowed("http://127.0.0.1:80/", "http://127.0.0.1/")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "bank.example/callbacks",
        "//bank.example/callbacks",
        "ftp://bank.example/",
        "http://bank.example/callbacks",
        "http://10.0.0.5/callbacks",
        "http://localhost.bank.example/",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "unix:/run/socket",
        "https:",
        "https://",
        "https:///callbacks",
        "https:bank.example",
        "https://?query",
        "https://bank.example/#fragment",
        "https://anna@bank.example/",
        "https://anna:secret@bank.example/",
        "https://:secret@bank.example/",
        "https://@bank.example/",
        "https://evil.example@bank.example/",
        "https://bank.example:0/",
        "https://bank.example:65536/",
        "https://bank.example:-1/",
        "https://bank.example:port/",
        "https://[::1/",
        "https://[not-an-address]/",
        "https://bank.example/a b",
        "https://bank.example/\n",
        "https://bank.example/\r\nX-Evil: 1",
        "https://bank.example/\tx",
        " https://bank.example/",
        "https://bank.example/\x00",
        "https://b\u00e4nk.example/",
        "https://bank.example\u3002evil.example/",
        "https://bank.example/\u202e",
    ],
)
def test_an_odd_address_is_refused(url: str):
    with pytest.raises(Refusal) as refused:
        parse_address(url)
    assert refused.value.problem.code == "not_allowed_by_policy"


PUBLIC = ["8.8.8.8", "1.1.1.1", "93.184.215.14", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]
NOT_PUBLIC = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254",  # noqa: S104 - data
    "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.168.1.1", "198.18.0.1", "198.51.100.1",
    "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
    "::", "::1", "fc00::1", "fd12:3456::1", "fe80::1", "fe80::1%1", "fec0::1", "ff02::1", "ff0e::1",
    "2001:db8::1", "100::1",
    # IPv4 inside IPv6: mapped, compatible, 6to4, NAT64 and its local form, Teredo.
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:224.0.0.1", "::ffff:0:0",
    "::127.0.0.1", "::10.0.0.1", "2002:7f00:1::", "2002:a00:1::1", "2002:a9fe:a9fe::",
    "64:ff9b::127.0.0.1", "64:ff9b::a00:1", "64:ff9b::169.254.169.254", "64:ff9b:1::a00:1",
    "2001:0:4136:e378:8000:63bf:f5ff:fffe",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_may_be_called(address: str):
    assert is_public(address)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_of_the_inner_network_may_not_be_called_however_it_is_written(address: str):
    assert not is_public(address)
