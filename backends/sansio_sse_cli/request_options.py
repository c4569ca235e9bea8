"""What to ask for, and how: curl's options, for every command that has a stream to ask for.

:func:`add_request_arguments` declares the options that make a request, :func:`read_request` makes
a :class:`StreamRequest` of them; :func:`add_config_arguments` and :func:`read_config` do the same
for the settings of the connection, from a file and from options. What of all this was given in
confidence is known here, to be hidden by :func:`hider`.

Nothing here connects.
"""

import argparse
import base64
import getpass
import ssl
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from sansio_sse import ConfigError, ConnectionConfig, HeadersInput

from .terminal import escape

__all__ = [
    "StreamRequest",
    "UsageError",
    "add_config_arguments",
    "add_request_arguments",
    "hider",
    "read_config",
    "read_request",
]

Headers = list[tuple[str, str]]

_FORM = "application/x-www-form-urlencoded"
# What a caller may put into these is no secret, and hiding it would spoil messages about it.
_PUBLIC_HEADERS = ("accept", "cache-control", "content-type", "user-agent", "last-event-id")
_SHORTEST_SECRET = 6  # to hide every "1" because of "?room=1" would hide the message


class UsageError(Exception):
    """The arguments do not go together, or with this machine; the text is for the user."""


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """A request for a stream, as the arguments have it; no repr shows a header or the url's query.

    >>> parser = argparse.ArgumentParser()
    >>> add_request_arguments(parser)
    >>> args = parser.parse_args(["-H", "X-Key: secret-key", "-d", "a=1"])
    >>> request = read_request(args, "localhost:8000/events")
    >>> request.url, request.method, request.content
    ('http://localhost:8000/events', 'POST', b'a=1')
    >>> hider(request.secrets)("we got secret-key")
    'we got …'
    """

    url: str
    method: str
    headers: Headers
    content: bytes | None
    last_event_id: str
    ssl_context: ssl.SSLContext | None
    uds: str | None

    def __repr__(self) -> str:
        return f"<StreamRequest {self.method}>"

    @property
    def secrets(self) -> frozenset[str]:
        """What must not be shown, in each form in which a server may send it back."""
        return _secrets_of_headers(self.headers) | _secrets_of_url(self.url)

    def for_connect(self) -> dict[str, Any]:
        """Return the arguments of ``connect()``, the url excepted."""
        return {
            "method": self.method,
            "headers": self.headers,
            "content": self.content,
            "last_event_id": self.last_event_id,
            "ssl_context": self.ssl_context,
            "uds": self.uds,
        }


# --- The request -------------------------------------------------------------------------------


def add_request_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that make a request: curl's, where curl has them. The url is not one."""
    request = parser.add_argument_group("the request")
    request.add_argument(
        "-H",
        "--header",
        metavar="LINE",
        dest="headers",
        action="extend",
        type=_header_lines,
        default=[],
        help="'Name: value', 'Name;' for an empty one, or @FILE with one a line; may be repeated",
    )
    request.add_argument("-X", "--request", metavar="METHOD", help="GET; POST if there is data")
    request.add_argument(
        "-d",
        "--data",
        metavar="DATA",
        action="append",
        type=_data,
        help="send DATA, or @FILE or @- (standard input) without line ends, by POST; repeated, "
        f"they are joined by '&'; {_FORM} unless a header says otherwise",
    )
    request.add_argument(
        "--data-binary",
        metavar="DATA",
        dest="data",
        action="append",
        type=_binary_data,
        help="the same, byte for byte",
    )
    request.add_argument(
        "-u", "--user", metavar="USER:PASSWORD", help="Basic auth; asks if no password"
    )
    request.add_argument("-A", "--user-agent", metavar="NAME", help="what to call ourselves")
    request.add_argument("--last-event-id", metavar="ID", default="", help="go on after this event")

    way = parser.add_argument_group("the way there")
    way.add_argument("-k", "--insecure", action="store_true", help="do not verify certificates")
    way.add_argument("--cacert", metavar="FILE", help="verify against these certificates (PEM)")
    way.add_argument("--unix-socket", metavar="PATH", help="connect to this socket")


def read_request(
    args: argparse.Namespace, url: str, config: ConnectionConfig | None = None
) -> StreamRequest:
    """Make a request of arguments and a url; perhaps asks for a password.

    A url without a scheme is http; one that is only a path belongs to the configuration's
    ``base_url``. Raises :class:`UsageError`.
    """
    data: list[bytes] | None = args.data
    return StreamRequest(
        url=_url(url, config),
        method=args.request or ("GET" if data is None else "POST"),
        headers=_headers(args),
        content=None if data is None else b"&".join(data),
        last_event_id=args.last_event_id,
        ssl_context=_ssl_context(args),
        uds=args.unix_socket,
    )


def _url(url: str, config: ConnectionConfig | None) -> str:
    if "://" in url.partition("?")[0]:
        return url
    if config is not None and config.base_url is not None and url.startswith(("/", ".", "?")):
        return url
    return f"http://{url}"


def _header_lines(text: str) -> Headers:
    if not text.startswith("@"):
        return [_header(text)]
    lines = _read(text[1:]).decode("utf-8", "surrogateescape").splitlines()
    return [_header(line) for line in lines if line.strip()]


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon and line.endswith(";"):
        return line[:-1].strip(), ""
    if not colon or not value.strip():
        # Never the line itself: perhaps it is a credential with something missing.
        raise argparse.ArgumentTypeError("a header is 'Name: value', or 'Name;' for an empty value")
    return name.strip(), value.strip()


def _data(text: str) -> bytes:
    data = _binary_data(text)
    # As curl: files end in a line end that nobody means.
    return data.translate(None, b"\r\n\0") if text.startswith("@") else data


def _binary_data(text: str) -> bytes:
    return _read(text[1:]) if text.startswith("@") else text.encode("utf-8", "surrogateescape")


def _read(path: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise argparse.ArgumentTypeError(f"cannot read {path}: {error.strerror}") from None


def _headers(args: argparse.Namespace) -> Headers:
    headers: Headers = list(args.headers)
    for text in (args.user_agent or "", args.last_event_id, *(value for _, value in headers)):
        if not _is_text(text):  # and a header has nothing to say in which coding it is
            raise UsageError("a header, a user agent or an id has bytes that are not UTF-8")
    given = {name.lower() for name, _ in headers}
    if args.user_agent is not None and "user-agent" not in given:
        headers.append(("User-Agent", args.user_agent))
    if args.user is not None and "authorization" not in given:
        credentials = base64.b64encode(
            _credentials(args).encode("utf-8", "surrogateescape")
        ).decode()
        headers.append(("Authorization", f"Basic {credentials}"))
    if args.data is not None and "content-type" not in given:
        headers.append(("Content-Type", _FORM))
    return headers


def _is_text(argument: str) -> bool:
    """Tell whether an argument's bytes were UTF-8: Python smuggles others in as lone surrogates."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True


def _credentials(args: argparse.Namespace) -> str:
    user: str = args.user
    if ":" in user:
        return user
    if not sys.stdin.isatty():
        raise UsageError("-u has no password, and there is no terminal to ask for it")
    # Kept with the arguments: a command with several urls asks once.
    args.user = f"{user}:{getpass.getpass(f'Password for {escape(user)}: ')}"
    return str(args.user)


def _ssl_context(args: argparse.Namespace) -> ssl.SSLContext | None:
    if not args.insecure and args.cacert is None:
        return None
    try:
        context = ssl.create_default_context(cafile=args.cacert)
    except OSError as error:  # SSLError, for what is no certificate, is one
        reason = "it has no certificate" if isinstance(error, ssl.SSLError) else error.strerror
        raise UsageError(f"--cacert: cannot use {args.cacert}: {reason}") from None
    if args.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


# --- The configuration -------------------------------------------------------------------------


def add_config_arguments(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Declare the options about the connection; return their group, for more of the kind."""
    file = parser.add_argument_group("settings from a file")
    file.add_argument(
        "--config",
        metavar="FILE",
        help="the connection's settings, in TOML; options given here win over it",
    )
    file.add_argument(
        "--config-table", metavar="NAME", help="the file's table that has them, such as tool.sse"
    )

    time_ = parser.add_argument_group("when to give up")
    time_.add_argument(
        "--connect-timeout",
        metavar="SECONDS",
        type=float,
        help="for name, TCP and TLS together; 10",
    )
    time_.add_argument(
        "--idle-timeout",
        metavar="SECONDS",
        type=float,
        help="reconnect after so much silence; 300, for a POST 600; 0: never",
    )
    time_.add_argument(
        "--max-attempts",
        metavar="N",
        type=int,
        help="retries without an event before giving up; 0, which is unlimited",
    )
    return time_


def read_config(args: argparse.Namespace) -> ConnectionConfig:
    """Return the settings: the file's, if there is one, and what options say in their place.

    Raises :class:`UsageError`, and :class:`~sansio_sse.ConfigError` for what cannot be.
    """
    config = _config_of_file(args)
    timeouts: dict[str, float] = {}
    if args.connect_timeout is not None:
        timeouts["connect"] = args.connect_timeout
    if args.idle_timeout is not None:
        timeouts["idle"] = args.idle_timeout
    attempts: int | None = args.max_attempts
    if attempts is None and args.config is None:
        attempts = 0  # who watches decides when it is enough
    reconnection = config.reconnection
    if attempts is not None:
        reconnection = replace(reconnection, max_attempts=attempts)
    return replace(config, reconnection=reconnection, timeouts=replace(config.timeouts, **timeouts))


def _config_of_file(args: argparse.Namespace) -> ConnectionConfig:
    if args.config is None:
        if args.config_table is not None:
            raise UsageError("--config-table does not go without --config")
        return ConnectionConfig()
    try:
        from sansio_sse_config import from_toml
    except ImportError as error:
        raise UsageError(f"--config: {error}") from None  # which says what to install
    try:
        config: ConnectionConfig = from_toml(args.config, table=args.config_table)
    except OSError as error:
        raise UsageError(f"--config: cannot read {args.config}: {error.strerror}") from None
    except ConfigError as error:
        raise UsageError("; ".join(str(error).splitlines())) from None
    return config


# --- Secrets -----------------------------------------------------------------------------------


def hider(*secrets: Iterable[str], config: ConnectionConfig | None = None) -> Callable[[str], str]:
    """Return a function that takes secrets out of a text, those of a configuration included.

    >>> config = ConnectionConfig(headers={"Authorization": "Bearer abcdef"})
    >>> hide = hider(["long-secret", "long"], config=config)
    >>> hide("long-secret, abcdef"), hide("so long")
    ('…, …', 'so long')
    """
    found: set[str] = {secret for some in secrets for secret in some}
    if config is not None:
        found |= _secrets_of_headers(_pairs(config.headers)) | _secrets_of_url(
            config.base_url or ""
        )
    # Longest first: of a secret within another, nothing is left.
    ordered = sorted((s for s in found if len(s) >= _SHORTEST_SECRET), key=len, reverse=True)

    def hide(text: str) -> str:
        for secret in ordered:
            text = text.replace(secret, "…")
        return text

    return hide


def _pairs(headers: HeadersInput) -> Headers:
    items: Any = headers or ()
    return list(items.items() if hasattr(items, "items") else items)


def _secrets_of_headers(headers: Headers) -> frozenset[str]:
    found: set[str] = set()
    for name, value in headers:
        if name.lower() in _PUBLIC_HEADERS:
            continue
        scheme, _, token = value.partition(" ")
        found |= {value, token}
        if name.lower() == "cookie":
            found |= {pair.partition("=")[2].strip('"') for pair in value.split(";")}
        if scheme.lower() == "basic":
            found |= _basic_secrets(token)
    return frozenset(found)


def _secrets_of_url(url: str) -> frozenset[str]:
    found: set[str] = set()
    try:
        parts = urlsplit(url)
    except ValueError:
        return frozenset()  # such a url is refused, without being shown
    userinfo, at, _ = parts.netloc.rpartition("@")
    if at:
        _, _, password = userinfo.partition(":")
        token = base64.b64encode(unquote(userinfo).encode()).decode()
        found |= {token, userinfo, unquote(userinfo), password, unquote(password)}
    found |= {value for _, value in parse_qsl(parts.query)}
    # As it was written; without a "=", the whole of it is one value.
    found |= {pair.rpartition("=")[2] for pair in parts.query.split("&")}
    return frozenset(found)


def _basic_secrets(token: str) -> set[str]:
    try:
        decoded = base64.b64decode(token, validate=True).decode()
    except ValueError:
        return set()
    return {decoded, decoded.partition(":")[2]}
