"""Requests, urls, headers, redirects and the few response headers that matter."""

import base64
import random
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_sse import ConfigError, Origin, Request, Response
from sansio_sse.http import (
    http_date,
    is_event_stream,
    is_idempotent,
    join_url,
    keep_alive_timeout,
    make_request,
    redirect_request,
    retry_after,
    strip_credentials,
)

# --- Origins -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "origin", "authority"),
    [
        ("http://example.com/", Origin("http", "example.com", 80), "example.com"),
        ("https://example.com", Origin("https", "example.com", 443), "example.com"),
        ("http://example.com:80/x", Origin("http", "example.com", 80), "example.com"),
        ("https://example.com:8443/", Origin("https", "example.com", 8443), "example.com:8443"),
        ("http://example.com:443/", Origin("http", "example.com", 443), "example.com:443"),
        ("http://[::1]:8080/", Origin("http", "::1", 8080), "[::1]:8080"),
        ("https://[2001:db8::1]/", Origin("https", "2001:db8::1", 443), "[2001:db8::1]"),
    ],
)
def test_an_origin_is_scheme_host_and_port(url: str, origin: Origin, authority: str) -> None:
    assert Request("GET", url).origin == origin == Origin.of(url)
    assert origin.authority == authority
    assert str(origin) == f"{origin.scheme}://{authority}"
    assert origin.secure is url.startswith("https")


# --- Requests ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://a.example", "/"),
        ("http://a.example/", "/"),
        ("http://a.example/a/b?c=d&e", "/a/b?c=d&e"),
        ("http://a.example?x", "/?x"),
        ("http://a.example/a#fragment", "/a"),
        ("http://a.example/a?", "/a"),
    ],
)
def test_the_target_is_path_and_query(url: str, target: str) -> None:
    assert Request("GET", url).target == target


@pytest.mark.parametrize("method", ["", "GE T", "GET\r\nX: y", "GÉT", "G\0T", "a,b", "GET "])
def test_a_method_is_a_token(method: str) -> None:
    with pytest.raises(ConfigError, match="token"):
        Request(method, "http://a.example/")


@pytest.mark.parametrize(
    "url",
    [
        "http://a.example/\r\nX: y",
        "http://a.example/a b",
        "http://a.example/\0",
        "http://a.example/é",
        "http://a.example/\x7f",
        "ftp://a.example/",
        "//a.example/",
        "/path",
        "",
        "http://",
        "http:///path",
        "http://:80/",
        "http://me@a.example/",
        "http://a.example:0/",
        "http://a.example:65536/",
        "http://a.example:x/",
        "http://[::1/",
        "http://[nonsense]/",
    ],
)
def test_a_url_is_checked(url: str) -> None:
    with pytest.raises(ConfigError):
        Request("GET", url)


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\r\nb", "é", "a\0", "a\t"])
def test_a_header_name_is_a_token(name: str) -> None:
    with pytest.raises(ConfigError, match="token"):
        Request("GET", "http://a.example/", ((name, "x"),))


@pytest.mark.parametrize("value", ["s3cr3t\r", "s3cr3t\n x", "s3cr3t\r\nX: y", "\0s3cr3t"])
def test_a_header_value_has_no_line_end_and_is_never_shown(value: str) -> None:
    with pytest.raises(ConfigError, match="'X-Mine': the value") as caught:
        Request("GET", "http://a.example/", (("X-Mine", value),))
    assert "s3cr3t" not in str(caught.value)


def test_headers_are_found_by_any_case() -> None:
    request = Request("GET", "http://a.example/", (("X-One", "1"), ("x-one", "2")))
    assert request.header("X-ONE") == "1"
    assert request.header("x-two") is None


def test_a_header_is_replaced_by_any_case_and_added() -> None:
    request = Request("GET", "http://a.example/", (("X-One", "1"), ("x-one", "2"), ("Y", "3")))
    assert request.with_header("x-ONE", "9").headers == (("Y", "3"), ("x-ONE", "9"))
    assert request.with_header("Z", "4").header("z") == "4"
    with pytest.raises(ConfigError):
        request.with_header("Z", "a\nb")


def test_a_copy_changes_what_it_is_told_to() -> None:
    request = Request("POST", "http://a.example/", (("X", "1"),), b"body")
    assert request.replace() == request
    changed = request.replace(method="PUT", url="http://b.example/", headers=(), content=b"")
    assert changed == Request("PUT", "http://b.example/", (), b"")


@pytest.mark.parametrize(
    ("method", "headers", "expected"),
    [
        *((method, (), True) for method in ("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE")),
        *((method, (), False) for method in ("POST", "PATCH", "CONNECT", "get")),
        ("POST", (("idempotency-KEY", "k"),), True),
    ],
)
def test_which_requests_may_be_sent_twice(method: str, headers: Any, expected: bool) -> None:
    assert is_idempotent(Request(method, "http://a.example/", headers)) is expected


# --- Urls --------------------------------------------------------------------------------------

# RFC 3986 5.4, less what has no sense over HTTP.
BASE = "http://a/b/c/d;p?q"
RESOLVED = {
    "g": "http://a/b/c/g",
    "./g": "http://a/b/c/g",
    "g/": "http://a/b/c/g/",
    "/g": "http://a/g",
    "//g": "http://g/",
    "?y": "http://a/b/c/d;p?y",
    "g?y": "http://a/b/c/g?y",
    "#s": "http://a/b/c/d;p?q",
    "g#s": "http://a/b/c/g",
    ";x": "http://a/b/c/;x",
    "g;x=1/../y": "http://a/b/c/y",
    "": "http://a/b/c/d;p?q",
    ".": "http://a/b/c/",
    "..": "http://a/b/",
    "../..": "http://a/",
    "../../../g": "http://a/g",
    "g?y/./x": "http://a/b/c/g?y/./x",
}


@pytest.mark.parametrize(("reference", "url"), RESOLVED.items())
def test_references_are_resolved_by_rfc_3986(reference: str, url: str) -> None:
    assert join_url(BASE, reference) == url


@pytest.mark.parametrize(
    ("url", "written"),
    [
        ("http://EXAMPLE.com/A", "http://example.com/A"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/"),
        ("http://例え.テスト:8080/x", "http://xn--r8jz45g.xn--zckzah:8080/x"),
        ("http://a.example/é ü?q=ß&r=%20", "http://a.example/%C3%A9%20%C3%BC?q=%C3%9F&r=%20"),
        ('http://a.example/"<>\\^`{|}', "http://a.example/%22%3C%3E%5C%5E%60%7B%7C%7D"),
        ("http://a.example/[x]!$&'()*+,;=:@~", "http://a.example/[x]!$&'()*+,;=:@~"),
        ("http://[::1]:80/", "http://[::1]:80/"),
        ("http://a.example/%zz", "http://a.example/%zz"),
    ],
)
def test_urls_are_written_in_ascii(url: str, written: str) -> None:
    assert join_url(None, url) == written
    Request("GET", written)


@pytest.mark.parametrize(
    "url",
    [
        "http://a\n.example/",
        "http://a.example/\t",
        "http://exa mple.com/",
        "http://a<b/",
        "http://a\\@b/",
        "http://[1.2.3.4]/",
        "http://[::1",
        "http://..ü/",
        "http://" + "ü" * 100 + ".example/",
        "http://a.example/\ud800",
    ],
)
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        join_url(None, url)
    with pytest.raises(ConfigError):
        join_url("http://base.example/", url)
    with pytest.raises(ConfigError):
        join_url(url, "x")


@given(st.text(), st.text())
def test_joining_gives_a_url_or_says_why_not(path: str, query: str) -> None:
    try:
        url = join_url("http://a.example/b/", f"{path}?{query}")
    except ConfigError:
        return
    assert url.isascii()
    assert not any(char <= " " for char in url)
    if urlsplit(url).scheme in ("http", "https") and urlsplit(url).netloc == "a.example":
        assert Request("GET", url).url == url


# --- Making requests ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("userinfo", "credentials"),
    [
        ("me:pw", "me:pw"),
        ("me", "me:"),
        (":pw", ":pw"),
        ("m%40e:p%3Aw:x", "m@e:p:w:x"),
        ("mü:ß", "mü:ß"),
    ],
)
def test_userinfo_becomes_basic_auth(userinfo: str, credentials: str) -> None:
    request = make_request("GET", f"http://{userinfo}@a.example:81/x?y")
    assert request.url == "http://a.example:81/x?y"
    scheme, _, encoded = (request.header("Authorization") or "").partition(" ")
    assert scheme == "Basic"
    assert base64.b64decode(encoded).decode() == credentials


def test_a_header_wins_over_userinfo() -> None:
    request = make_request("GET", "http://me:pw@a.example/", headers={"authorization": "mine"})
    assert request.headers == (("authorization", "mine"),)
    assert request.url == "http://a.example/"


def test_userinfo_of_the_base_url_counts() -> None:
    request = make_request("GET", "events", base_url="http://me:pw@a.example/api/")
    assert request.url == "http://a.example/api/events"
    assert request.header("Authorization") is not None


def test_headers_win_over_defaults_by_name() -> None:
    request = make_request(
        "GET",
        "http://a.example/",
        headers={"X-One": " mine\t"},
        default_headers=[("x-one", "default"), ("X-Two", "2"), ("X-Two", "3")],
    )
    assert request.headers == (("X-Two", "2"), ("X-Two", "3"), ("X-One", "mine"))


@pytest.mark.parametrize("content", ["text", bytearray(b"x"), 5])
def test_the_content_of_a_request_is_bytes(content: Any) -> None:
    with pytest.raises(ConfigError, match="content must be bytes"):
        Request("POST", "http://example.com/", content=content)


@pytest.mark.parametrize("url", ["http:]", "http:example.com", "https:/x", "http:///x", "http:"])
def test_a_path_is_not_taken_for_a_host(url: str) -> None:
    with pytest.raises(ConfigError, match="has no host"):
        make_request("GET", url)
    with pytest.raises(ConfigError, match="has no host"):
        redirect_request(Request("GET", "https://example.com/"), 302, url.replace("s:", ":"))


def test_content_is_text_or_bytes_or_json() -> None:
    url = "http://a.example/"
    assert make_request("POST", url, content=b"\xff").content == b"\xff"
    assert make_request("POST", url, content="ü").content == "ü".encode()
    assert make_request("POST", url, content="").content == b""
    assert make_request("POST", url).content is None
    request = make_request("POST", url, json={"ü": [1, None]})
    assert request.content == '{"ü":[1,null]}'.encode()
    assert request.header("content-type") == "application/json"
    request = make_request("POST", url, json=0, headers={"CONTENT-TYPE": "mine"})
    assert (request.content, request.headers) == (b"0", (("CONTENT-TYPE", "mine"),))


@pytest.mark.parametrize(
    "options",
    [
        {"content": b"", "json": 1},
        {"json": float("nan")},
        {"json": {1, 2}},
        {"content": "\ud800"},
        {"headers": {"a": 1}},
        {"headers": [("a", "b", "c")]},
        {"headers": {"a": "b\nc"}},
    ],
)
def test_what_cannot_be_sent_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        make_request("POST", "http://a.example/", **options)


# --- Redirects ---------------------------------------------------------------------------------

# RFC 9110 15.4: what a method becomes.
METHODS = {
    301: {"GET": "GET", "HEAD": "HEAD", "POST": "GET", "PUT": "PUT", "DELETE": "DELETE"},
    302: {"GET": "GET", "HEAD": "HEAD", "POST": "GET", "PUT": "PUT", "DELETE": "DELETE"},
    303: {"GET": "GET", "HEAD": "HEAD", "POST": "GET", "PUT": "GET", "DELETE": "GET"},
    307: {"GET": "GET", "HEAD": "HEAD", "POST": "POST", "PUT": "PUT", "DELETE": "DELETE"},
    308: {"GET": "GET", "HEAD": "HEAD", "POST": "POST", "PUT": "PUT", "DELETE": "DELETE"},
}


@pytest.mark.parametrize(
    ("status", "method", "becomes"),
    [(status, old, new) for status, row in METHODS.items() for old, new in row.items()],
)
def test_what_a_request_becomes(status: int, method: str, becomes: str) -> None:
    headers = (("Content-Type", "a/b"), ("Content-Language", "cy"), ("X-Key", "1"))
    content = b"x" if method in ("POST", "PUT") else None
    followed = redirect_request(
        Request(method, "http://a.example/x", headers, content), status, "y"
    )
    assert (followed.method, followed.url) == (becomes, "http://a.example/y")
    changed = (status == 303 and method != "HEAD") or becomes != method
    assert followed.content == (None if changed else content)
    assert followed.headers == ((("X-Key", "1"),) if changed else headers)


@pytest.mark.parametrize(
    "location",
    [
        "http://b.example/",
        "https://a.example/",
        "http://a.example:81/",
        "//b.example/",
        "http://A.b.example/",
    ],
)
def test_another_origin_gets_only_what_cannot_be_a_credential(location: str) -> None:
    headers = (
        ("Authorization", "1"),
        ("Cookie", "2"),
        ("X-API-Key", "3"),
        ("Last-Event-ID", "4"),
        ("Host", "a.example"),
        ("ACCEPT", "text/event-stream"),
        ("accept-language", "cy"),
        ("Cache-Control", "no-store"),
        ("user-agent", "me"),
    )
    followed = redirect_request(Request("GET", "http://a.example/", headers), 307, location)
    assert followed.headers == headers[5:] == strip_credentials(headers)


@pytest.mark.parametrize("location", ["/y", "?z", "http://a.example:80/", "HTTP://A.EXAMPLE/y"])
def test_the_same_origin_keeps_everything(location: str) -> None:
    headers = (("Authorization", "1"),)
    assert (
        redirect_request(Request("GET", "http://a.example/", headers), 301, location).headers
        == headers
    )


def test_a_server_does_not_choose_our_credentials() -> None:
    followed = redirect_request(
        Request("GET", "http://a.example/"), 302, "http://me:pw@a.example/x"
    )
    assert (followed.url, followed.headers) == ("http://a.example/x", ())


@pytest.mark.parametrize(
    "location", ["ftp://a.example/", "mailto:me", "http://[", "/a\rb", "http://a b/"]
)
def test_a_location_which_is_no_url_is_refused(location: str) -> None:
    with pytest.raises(ConfigError):
        redirect_request(Request("GET", "http://a.example/"), 302, location)


# --- Responses ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("text/event-stream", True),
        ("TEXT/Event-Stream;charset=x", True),
        ("\ttext/event-stream ; a=b", True),
        ("text/event-stream, text/html", False),
        ("text/event-streams", False),
        ("application/text/event-stream", False),
        ("", False),
        (None, False),
    ],
)
def test_what_is_an_event_stream(content_type: str | None, expected: bool) -> None:
    headers = (("content-TYPE", content_type),) if content_type is not None else ()
    assert is_event_stream(Response(200, headers)) is expected


def test_lists_in_headers_are_taken_apart() -> None:
    response = Response(200, (("A", "x, y ,"), ("B", "z"), ("a", ",w")))
    assert response.header_values("a") == ["x", "y", "w"]
    assert response.header_values("c") == []


DATE = ("Date", "Sun, 06 Nov 1994 08:49:37 GMT")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 120\t", 120.0),
        ("0000000000000000120", 120.0),
        ("1.5", None),
        ("-1", None),
        ("", None),
        ("²", None),
        ("\N{ARABIC-INDIC DIGIT ONE}", None),
        ("soon", None),
        ("Sun, 06 Nov 1994 08:49:38 GMT", 1.0),
        ("Sun, 06 Nov 1994 08:49:36 GMT", 0.0),
    ],
)
def test_retry_after(value: str, expected: float | None) -> None:
    assert retry_after(Response(503, (("Retry-After", value), DATE))) == expected


def test_an_absurd_retry_after_is_large_and_finite() -> None:
    asked = retry_after(Response(503, (("Retry-After", "9" * 5000),)))
    assert asked is not None
    assert 1e9 < asked < float("inf")


def test_retry_after_needs_a_date_to_compare_a_date_with() -> None:
    date = "Sun, 06 Nov 1994 08:49:38 GMT"
    assert retry_after(Response(503, (("Retry-After", date),))) is None
    assert retry_after(Response(503, (("Retry-After", date), ("Date", "now")))) is None
    assert retry_after(Response(503)) is None


# --- How long a transport is kept ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        ([], None),
        ([""], None),
        (["timeout=5"], 4.0),
        (["max=9, TIMEOUT\t= 60 "], 59.0),
        (["max=9", "timeout=3"], 2.0),
        (["timeout=7, timeout=3"], 6.0),
        (["timeout=x", "timeout=3"], 2.0),
        (["timeout=0"], 0.0),
        (["timeout=1"], 0.0),
        (["timeout=3600"], 3599.0),
        (["timeout=999999999"], 3599.0),
        (["timeout=" + "9" * 5000], None),
        (["timeout=-1"], None),
        (["timeout=5.5"], None),
        (["timeout=1_0"], None),
        (["timeout=\xb2"], None),  # a digit to str.isdigit, not to float
        (["timeouts=5"], None),
        (["timeout=5;max=3"], None),
    ],
)
def test_keep_alive_timeout(values: list[str], seconds: float | None) -> None:
    headers = tuple(("Keep-Alive", value) for value in values)
    assert keep_alive_timeout(Response(200, headers)) == seconds


@given(st.text(alphabet=st.characters(max_codepoint=255)) | st.from_regex(r"timeout ?=[ -~]*"))
def test_no_server_makes_us_keep_a_transport_for_ever(value: str) -> None:
    seconds = keep_alive_timeout(Response(200, (("Keep-Alive", value),)))
    assert seconds is None or 0 <= seconds <= 3599


# --- Dates -------------------------------------------------------------------------------------


@given(st.integers(0, 8000 * 365 * 86400))
def test_dates_are_read_as_the_standard_library_reads_them(seconds: int) -> None:
    moment = datetime(1900, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    text = format_datetime(moment, usegmt=True)
    assert (
        http_date(text) == int(moment.timestamp()) == int(parsedate_to_datetime(text).timestamp())
    )


def test_dates_around_every_leap_day() -> None:
    for year in (1600, 1900, 1999, 2000, 2023, 2024, 2100, 2400):
        for day in range(-2, 3):
            moment = datetime(year, 3, 1, 12, tzinfo=UTC) + timedelta(days=day)
            assert http_date(format_datetime(moment, usegmt=True)) == int(moment.timestamp())


def test_random_dates_of_our_time() -> None:
    chance = random.Random(5)
    for _ in range(1000):
        moment = datetime.fromtimestamp(chance.randrange(4_000_000_000), UTC)
        assert http_date(format_datetime(moment, usegmt=True)) == int(moment.timestamp())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 32 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT",
        "Sun, 06 Nov 1994 08:60:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Xyz, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nix 1994 08:49:37 GMT",
        "Sun, ٠٦ Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT, and more",
    ],
)
def test_what_is_no_date_is_none(text: str) -> None:
    assert http_date(text) is None


def test_a_leap_second_is_read() -> None:
    assert http_date("Sat, 31 Dec 2016 23:59:60 GMT") == 1483228800


def test_blanks_around_a_date_are_fine() -> None:
    assert http_date(" Sun, 06 Nov 1994 08:49:37 GMT\t") == 784111777
