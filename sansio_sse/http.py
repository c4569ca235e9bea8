"""What HTTP means to an event stream: requests, responses, origins, the headers that matter.

No bytes here: :mod:`sansio_sse.http1` turns these into HTTP/1.1, and an HTTP client of any other
version can be asked to do the same. Everything that comes from a caller is checked when it is
made (a CR in a header value never gets further than the constructor); everything that comes from
a peer is judged by a function that gives an answer and never raises.
"""

import base64
import ipaddress
import json as json_module
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import quote, unquote, urljoin, urlsplit

from .errors import ConfigError, redact_url

__all__ = [
    "HeadersInput",
    "Origin",
    "Request",
    "Response",
    "http_date",
    "is_event_stream",
    "is_idempotent",
    "join_url",
    "make_request",
    "redirect_request",
    "retry_after",
    "strip_credentials",
]

Headers = tuple[tuple[str, str], ...]
HeadersInput: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]] | None
"""Headers as a caller may give them: a mapping, or pairs."""

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_DEFAULT_PORTS = {"http": 80, "https": 443}
# Reserved characters (RFC 3986 2.2) stay, and so does "%": the caller may have encoded already.
_SAFE_IN_TARGET = "!#$%&'()*+,/:;=?@[]~"
_CONTROL = re.compile("[\0-\x1f\x7f]")
_UNWRITABLE = re.compile("[\0-\x20\x7f]")
_AUTHORITY_END = re.compile("[/?#]|$")
_SURROGATE = re.compile("[\ud800-\udfff]")


class Origin(NamedTuple):
    """Where a transport leads: scheme, host and port (RFC 6454).

    >>> Origin.of("https://example.com/events")
    Origin(scheme='https', host='example.com', port=443)
    >>> str(Origin("http", "::1", 8080))
    'http://[::1]:8080'
    """

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> "Origin":
        """Return the origin of a url which :class:`Request` has accepted."""
        begin = url.index("://") + 3
        end = _AUTHORITY_END.search(url, begin)
        assert end is not None  # it finds the end of the url, too
        return _origin_of(url[: end.start()])

    @property
    def secure(self) -> bool:
        """Whether TLS is spoken there."""
        return self.scheme == "https"

    @property
    def authority(self) -> str:
        """Host, and port unless it is the scheme's own, as the Host header wants it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS.get(self.scheme) else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


@lru_cache(maxsize=256)  # not by whole urls: ten thousand streams of one server share it
def _origin_of(url: str) -> Origin:
    parts = urlsplit(url)
    return Origin(parts.scheme, parts.hostname or "", parts.port or _DEFAULT_PORTS[parts.scheme])


@dataclass(frozen=True, slots=True, repr=False)
class Request:
    r"""One HTTP request, checked: what is in here is safe to be written on the wire.

    ``url`` is absolute, http or https, without userinfo (see :func:`make_request`) or fragment.
    Header names keep the case they were given. Raises :class:`ConfigError` for anything that
    cannot be written safely.

    >>> Request("GET", "https://example.com/events?token=secret")
    <Request GET https://example.com/events?token=…>
    >>> Request("GET", "https://example.com/", headers=(("X-Bad", "a\r\nb"),))
    Traceback (most recent call last):
    sansio_sse.errors.ConfigError: header 'X-Bad': the value has a CR, LF or NUL
    """

    method: str
    url: str
    headers: Headers = ()
    content: bytes | None = None

    def __post_init__(self) -> None:
        if not _TOKEN.fullmatch(self.method):
            raise ConfigError(f"method {self.method!r} is not an HTTP token")
        _check_url(self.url)
        if self.content is not None and not isinstance(self.content, bytes):
            raise ConfigError(f"content must be bytes, not {type(self.content).__name__}")
        for name, value in self.headers:
            if not _TOKEN.fullmatch(name):
                raise ConfigError(f"header name {name!r} is not an HTTP token")
            if "\r" in value or "\n" in value or "\0" in value:
                # Never the value: it may be a credential.
                raise ConfigError(f"header {name!r}: the value has a CR, LF or NUL")

    def __repr__(self) -> str:
        return f"<Request {self.method} {redact_url(self.url)}>"

    @property
    def origin(self) -> Origin:
        """Where this request goes."""
        return Origin.of(self.url)

    @property
    def target(self) -> str:
        """Path and query: what follows the method on the request line."""
        parts = urlsplit(self.url)
        return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    def header(self, name: str) -> str | None:
        """Return the first value of a header, by any case of its name."""
        return _header(self.headers, name)

    def replace(
        self,
        *,
        method: str | None = None,
        url: str | None = None,
        headers: Headers | None = None,
        content: bytes | None = None,
    ) -> "Request":
        """Return a copy with some parts changed; what is left out stays."""
        return Request(
            self.method if method is None else method,
            self.url if url is None else url,
            self.headers if headers is None else headers,
            self.content if content is None else content,
        )

    def with_header(self, name: str, value: str) -> "Request":
        """Return a copy in which a header has this one value: the way to renew a token.

        >>> Request("GET", "http://a/").with_header("X-Token", "2").header("x-token")
        '2'
        """
        kept = tuple((n, v) for n, v in self.headers if n.lower() != name.lower())
        return self.replace(headers=(*kept, (name, value)))


@dataclass(frozen=True, slots=True, repr=False)
class Response:
    """The head of a response. Header names are as the peer wrote them; values are Latin-1 text.

    >>> response = Response(200, (("Content-Type", "text/event-stream"),))
    >>> response, response.header("content-type")
    (<Response 200 HTTP/1.1>, 'text/event-stream')
    """

    status: int
    headers: Headers = ()
    http_version: str = "1.1"

    def __repr__(self) -> str:
        return f"<Response {self.status} HTTP/{self.http_version}>"

    def header(self, name: str) -> str | None:
        """Return the first value of a header, by any case of its name."""
        return _header(self.headers, name)

    def header_values(self, name: str) -> list[str]:
        """Return all values of a header, comma lists taken apart, in order."""
        name = name.lower()
        values = (value for key, value in self.headers if key.lower() == name)
        return [part.strip() for value in values for part in value.split(",") if part.strip()]


def _header(headers: Headers, name: str) -> str | None:
    name = name.lower()
    for key, value in headers:
        if key.lower() == name:
            return value
    return None


# --- Urls --------------------------------------------------------------------------------------


def _check_url(url: str) -> None:
    """Raise ConfigError unless ``url`` can be requested as it stands."""
    if not url.isascii() or _UNWRITABLE.search(url):
        raise ConfigError(f"url {redact_url(url)!r} has a space, control or non-ASCII character")
    try:
        parts = urlsplit(url)
        port = parts.port
        host = parts.hostname
    except ValueError:
        # Not its text: what stands where the port should be may be half of a password.
        raise ConfigError(f"url {redact_url(url)!r}: the port is no number up to 65535") from None
    if parts.scheme not in _DEFAULT_PORTS:
        raise ConfigError(f"url {redact_url(url)!r}: the scheme must be http or https")
    if not host:
        raise ConfigError(f"url {redact_url(url)!r} has no host")
    if "@" in parts.netloc:
        raise ConfigError(f"url {redact_url(url)!r}: credentials belong in a header")
    if port == 0:
        raise ConfigError(f"url {redact_url(url)!r}: port 0 cannot be connected to")


def join_url(base: str | None, url: str) -> str:
    """Resolve ``url`` against ``base`` (RFC 3986 5.2) and write it in ASCII.

    An international host is written in IDNA, other characters are percent-encoded as UTF-8; the
    fragment goes. Raises :class:`ConfigError` for control characters and hosts that cannot be.

    >>> join_url("https://example.com/a/b", "../events?room=é")
    'https://example.com/events?room=%C3%A9'
    """
    for text in (base or "", url):
        # urlsplit drops these silently, so that two readers of one url may see two hosts.
        if _CONTROL.search(text):
            raise ConfigError(f"url {redact_url(text)!r} has a control character")
        if _SURROGATE.search(text):
            raise ConfigError(f"url {redact_url(text)!r} has a lone surrogate")
    try:
        parts = urlsplit(urljoin(base, url) if base else url)
    except ValueError:
        # Not its text: it may show the userinfo.
        raise ConfigError(f"url {redact_url(url)!r}: the host cannot be read") from None
    try:
        netloc = _ascii_netloc(parts.netloc)
    except ValueError as error:
        raise ConfigError(f"url {redact_url(url)!r}: {error}") from None
    if parts.scheme and not netloc:
        # Else the path would take the place of the host: "http:]" would become "http://]".
        http = parts.scheme in _DEFAULT_PORTS
        what = " has no host" if http else ": the scheme must be http or https"
        raise ConfigError(f"url {redact_url(url)!r}{what}")
    path = quote(parts.path, safe=_SAFE_IN_TARGET)
    query = quote(parts.query, safe=_SAFE_IN_TARGET)
    return f"{parts.scheme}://{netloc}{path or '/'}{'?' if query else ''}{query}"


def _ascii_netloc(netloc: str) -> str:
    if "\\" in netloc:
        raise ValueError("a backslash, which browsers read as a slash")
    userinfo, at, hostport = netloc.rpartition("@")
    if hostport.startswith("["):
        host, bracket, port = hostport[1:].partition("]")
        ipaddress.IPv6Address(host)
        return f"{userinfo}{at}[{host}{bracket}{port}"
    host, colon, port = hostport.partition(":")
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            raise ValueError("the host is not a valid domain name") from None
    if not re.fullmatch(r"[A-Za-z0-9._~!$&'()*+,;=%-]*", host):
        raise ValueError("the host has characters that no host may have")
    return f"{userinfo}{at}{host.lower()}{colon}{port}"


# --- Making a request --------------------------------------------------------------------------


def make_request(
    method: str,
    url: str,
    *,
    base_url: str | None = None,
    headers: HeadersInput = None,
    default_headers: HeadersInput = None,
    content: bytes | str | None = None,
    json: Any = None,
) -> Request:
    """Make a request from what a caller gives: resolve its url, move userinfo into Basic auth.

    ``headers`` win over ``default_headers`` by name. ``json`` is written as compact UTF-8 JSON with
    its content type; giving both ``content`` and ``json`` raises :class:`ConfigError`.

    >>> request = make_request("POST", "https://me:pw@example.com/chat", json={"q": 1})
    >>> request.url, request.content, request.header("authorization")
    ('https://example.com/chat', b'{"q":1}', 'Basic bWU6cHc=')
    """
    if content is not None and json is not None:
        raise ConfigError("content and json exclude each other")
    merged = _header_pairs(headers)
    given = {name.lower() for name, _ in merged}
    merged = [
        pair for pair in _header_pairs(default_headers) if pair[0].lower() not in given
    ] + merged
    given = {name.lower() for name, _ in merged}
    url = join_url(base_url, url)
    parts = urlsplit(url)
    userinfo, at, hostport = parts.netloc.rpartition("@")
    if at:
        url = parts._replace(netloc=hostport).geturl()
        if "authorization" not in given:
            user, _, password = userinfo.partition(":")
            credentials = f"{unquote(user)}:{unquote(password)}".encode()
            merged.append(("Authorization", "Basic " + base64.b64encode(credentials).decode()))
    if json is not None:
        try:
            content = json_module.dumps(
                json, ensure_ascii=False, separators=(",", ":"), allow_nan=False
            )
        except (TypeError, ValueError) as error:
            raise ConfigError(f"json cannot be written: {error}") from None
        if "content-type" not in given:
            merged.append(("Content-Type", "application/json"))
    if isinstance(content, str):
        try:
            content = content.encode()
        except UnicodeEncodeError:
            raise ConfigError("the content has a lone surrogate") from None
    return Request(method, url, tuple(merged), content)


def _header_pairs(headers: HeadersInput) -> list[tuple[str, str]]:
    if headers is None:
        return []
    anything: Any = headers
    given: Any = anything.items() if isinstance(headers, Mapping) else anything
    try:
        pairs: list[Any] = [() if isinstance(pair, str) else tuple(pair) for pair in given]
    except TypeError:
        pairs = [()]
    for pair in pairs:
        if len(pair) != 2 or not all(isinstance(part, str) for part in pair):
            raise ConfigError("headers are pairs of strings (name, value)")
    return [(name, value.strip(" \t")) for name, value in pairs]


def is_idempotent(request: Request) -> bool:
    """Tell whether twice is as good as once (RFC 9110 9.2.2, or an Idempotency-Key)."""
    if request.header("Idempotency-Key") is not None:
        return True
    return request.method in ("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE")


# --- Redirects ---------------------------------------------------------------------------------

REDIRECTS = frozenset({301, 302, 303, 307, 308})
PERMANENT_REDIRECTS = frozenset({301, 308})


def redirect_request(request: Request, status: int, location: str) -> Request:
    """Return the request that follows a redirect, by the rules of RFC 9110 15.4.

    303 turns any method but HEAD into GET, 301 and 302 turn POST into GET; the body goes with the
    method. To another origin only headers that cannot be credentials stay
    (:func:`strip_credentials`). Raises :class:`ConfigError` when ``location`` is no http(s) url.
    What is *allowed* is not judged here.
    """
    url = join_url(request.url, location)
    parts = urlsplit(url)
    if "@" in parts.netloc:
        # A server has no business to choose our credentials.
        url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    method, headers, content = request.method, request.headers, request.content
    if (status == 303 and method != "HEAD") or (status in (301, 302) and method == "POST"):
        method, content = "GET", None
        headers = tuple(pair for pair in headers if not pair[0].lower().startswith("content-"))
    followed = Request(method, url, headers, content)
    if followed.origin != request.origin:
        followed = Request(method, url, strip_credentials(headers), content)
    return followed


def strip_credentials(headers: Headers) -> Headers:
    """Keep Accept*, Cache-Control and User-Agent alone: API keys have many names.

    >>> strip_credentials((("X-API-Key", "1"), ("Accept-Language", "cy"), ("Cookie", "2")))
    (('Accept-Language', 'cy'),)
    """
    return tuple(
        (name, value)
        for name, value in headers
        if name.lower() in ("cache-control", "user-agent") or name.lower().startswith("accept")
    )


# --- Reading a response ------------------------------------------------------------------------


def is_event_stream(response: Response) -> bool:
    """Tell whether the content type is text/event-stream, in any case and with any parameters.

    >>> is_event_stream(Response(200, (("content-type", "Text/Event-Stream; charset=UTF-8"),)))
    True
    """
    content_type = response.header("content-type") or ""
    return content_type.partition(";")[0].strip(" \t").lower() == "text/event-stream"


def retry_after(response: Response) -> float | None:
    """Return the seconds that Retry-After asks for, or None (RFC 9110 10.2.3).

    A date is measured against the response's own Date header: the peer's two clocks agree with
    each other, which ours need not. Without a Date header a date says nothing.

    >>> retry_after(Response(503, (("Retry-After", "120"),)))
    120.0
    """
    value = (response.header("retry-after") or "").strip(" \t")
    if value.isascii() and value.isdigit():
        return float(
            value.lstrip("0")[:12] or 0
        )  # absurd is absurd at 12 digits too; the machine caps it
    then, now = http_date(value), http_date(response.header("date") or "")
    if then is None or now is None:
        return None
    return float(max(0, then - now))


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DATE = re.compile(
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (\d\d) ("
    + "|".join(_MONTHS)
    + r") (\d{4}) (\d\d):(\d\d):(\d\d) GMT",
    re.ASCII,
)


def keep_alive_timeout(response: Response) -> float | None:
    """Return for how many seconds the server keeps an idle transport (RFC 2068 19.7.1.1), or None.

    A second less than it says: what it says begins when it has sent, not when we have read. More
    than an hour is taken for an hour.

    >>> keep_alive_timeout(Response(200, (("Keep-Alive", "timeout=5, max=100"),)))
    4.0
    """
    for value in response.header_values("keep-alive"):
        for part in value.split(","):
            name, _, number = part.partition("=")
            number = number.strip(" \t")
            if name.strip(" \t").lower() == "timeout" and re.fullmatch("[0-9]{1,9}", number):
                return max(min(float(number), 3600.0) - 1.0, 0.0)
    return None


def http_date(text: str) -> int | None:
    """Read an IMF-fixdate (RFC 9110 5.6.7) as seconds since 1970, else None.

    The obsolete forms are not read: no server that speaks event streams sends them, and
    ``email.utils`` would pull sockets into the core.

    >>> http_date("Sun, 06 Nov 1994 08:49:37 GMT")
    784111777
    """
    match = _DATE.fullmatch(text.strip(" \t"))
    if not match:
        return None
    day, year, hour, minute, second = (int(match[n]) for n in (1, 3, 4, 5, 6))
    month = _MONTHS.index(match[2]) + 1
    if not (1 <= day <= 31 and hour < 24 and minute < 60 and second <= 60):
        return None
    # Days from civil: count years from March, so that the leap day is the last day of a year.
    shifted = year - (month <= 2)
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    days = shifted * 365 + shifted // 4 - shifted // 100 + shifted // 400 + day_of_year - 719468
    return days * 86400 + hour * 3600 + minute * 60 + second
