"""Who may see the live page, and who may not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_sse_cli.live_page import SHORTEST_TOKEN, Gate, is_loopback

TOKEN = "correct horse battery"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:8000",
        "[::1]:8000",
        "192.168.1.7:80",
        "localhost",
        "LOCALHOST:1",
        "a.localhost:1",
        "page.example:80",
        "PAGE.example.",
    ],
)
def test_addresses_localhost_and_names_that_were_allowed_are_served(host: str) -> None:
    assert Gate(hosts=["Page.example"]).stranger({"host": host}) is None


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "evil.example:8000",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "[",
        "xpage.example",
        "notlocalhost",
        "page.example@evil.example",
        "0x7f000001.evil.example",
    ],
)
def test_a_name_that_somebody_else_made_resolve_here_is_refused(host: str) -> None:
    assert Gate(hosts=["page.example"]).stranger({"host": host}, top=True) is not None


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_sites_may_link_to_the_page_but_read_no_feed(site: str) -> None:
    headers = {"host": "127.0.0.1:1", "sec-fetch-site": site}
    assert Gate().stranger(headers, top=True) is None
    assert Gate().stranger(headers) == "another site asks"


@pytest.mark.parametrize(
    ("origin", "is_ours"),
    [
        ("http://127.0.0.1:1", True),
        ("https://127.0.0.1:1", True),
        ("http://127.0.0.1:2", False),
        ("http://evil.example", False),
        ("HTTP://127.0.0.1:1", True),
        ("http://127.0.0.1", False),
        ("http://127.0.0.1:1/", False),
        ("http://127.0.0.1:1@evil.example", False),
        ("http://[", False),
        ("//127.0.0.1:1", False),
        ("null", False),
        ("", False),
    ],
)
def test_another_origin_is_refused(origin: str, is_ours: bool) -> None:
    said = Gate().stranger({"host": "127.0.0.1:1", "origin": origin})
    assert (said is None) is is_ours


def test_without_a_token_everybody_who_gets_here_is_admitted() -> None:
    assert Gate().admits({})
    assert not Gate().opens("")  # there is nothing to open


def test_the_token_opens_by_header_and_its_cookie_by_cookie() -> None:
    gate = Gate(TOKEN, port=8000)
    assert not gate.admits({})
    assert gate.admits({"authorization": f"Bearer {TOKEN}"})
    pair, *flags = gate.cookie().split("; ")
    assert gate.admits({"cookie": f"other=1; {pair}"})
    assert {"HttpOnly", "SameSite=Strict", "Path=/feed"} == set(flags)
    assert TOKEN not in pair


def test_a_cookie_is_of_one_port_and_one_token() -> None:
    cookie = Gate(TOKEN, port=8000).cookie().partition(";")[0]
    assert Gate(TOKEN, port=8000).admits({"cookie": cookie})  # also after a restart
    assert not Gate(TOKEN, port=8001).admits({"cookie": cookie})
    assert not Gate(TOKEN + "x", port=8000).admits({"cookie": cookie})


@given(st.text(max_size=40))
def test_nothing_else_opens(text: str) -> None:
    gate = Gate(TOKEN, port=1)
    assert gate.opens(text) is (text == TOKEN)
    for headers in (
        {"authorization": text},
        {"authorization": f"Basic {text}"},
        {"cookie": text},
        {"cookie": f"sansio-sse-1={text}"},
        {"cookie": f"sansio-sse-1={TOKEN}"},
    ):
        assert not gate.admits(headers)
    assert gate.admits({"authorization": f"bearer {text}"}) is (text.strip() == TOKEN)


ODD = st.text(max_size=20) | st.text("[]:/@%.1x\xe2\xff", max_size=12).map("http://".__add__)


@given(
    st.dictionaries(st.sampled_from(["origin", "sec-fetch-site", "cookie", "authorization"]), ODD)
)
def test_no_header_is_too_odd_to_be_judged(headers: dict[str, str]) -> None:
    gate = Gate(TOKEN)
    refused = gate.stranger({**headers, "host": "[::1]:80"})
    assert (refused is None) is ("origin" not in headers and "sec-fetch-site" not in headers)
    assert not gate.admits(headers)


@given(ODD)
def test_no_host_is_too_odd_to_be_judged(host: str) -> None:
    assert Gate().stranger({"host": host.replace("1", "x")}) is not None


def test_what_is_heard_on_this_machine_alone_needs_no_token() -> None:
    alone = ["127.0.0.1", "127.1.2.3", "::1", "localhost"]
    heard = ["0.0.0.0", "::", "", "192.168.0.1", "host.example"]
    assert all(map(is_loopback, alone))
    assert not any(map(is_loopback, heard))
    assert SHORTEST_TOKEN >= 16
