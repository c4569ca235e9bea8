"""Who may see the live page. Pure: it is shown requests, and says yes or why not.

On loopback whoever can reach the page may see it, except for web pages of others, which a browser
on the same machine would let in: one that resolves its own name to 127.0.0.1 (DNS rebinding) is
known by its ``Host``, one that asks across origins by what the browser says of it. An address in
digits is nobody's name, so it cannot be rebound, whatever way led here.

Where there is a token, it is exchanged once for a cookie which is not the token and from which it
cannot be told. Comparisons take the same time whatever is wrong.
"""

import hashlib
import hmac
import ipaddress
from collections.abc import Collection, Mapping
from typing import Final

__all__ = ["SHORTEST_TOKEN", "Gate", "is_loopback"]

SHORTEST_TOKEN: Final = 16
"""How many characters it takes: nothing here slows down who guesses."""

_PURPOSE = b"sansio-sse live page"


def is_loopback(host: str) -> bool:
    """Tell whether who listens there is heard on this machine alone.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class Gate:
    """Judges requests by their headers, whose names are in lower case.

    >>> gate = Gate()
    >>> gate.stranger({"host": "127.0.0.1:8000"}), gate.stranger({"host": "evil.example"})
    (None, 'this host is not served; --allow-host adds one')

    Args:
        token: What opens it; None: it is open.
        hosts: Names under which it may be asked for, beside addresses and localhost.
        port: Where it listens: cookies know hosts, but not ports.
    """

    def __init__(
        self, token: str | None = None, hosts: Collection[str] = (), port: int = 0
    ) -> None:
        self.port: int = port
        self._token = token
        self._hosts = frozenset(host.lower().rstrip(".") for host in hosts)

    @property
    def is_open(self) -> bool:
        """Whether there is no token."""
        return self._token is None

    def stranger(self, headers: Mapping[str, str], *, top: bool = False) -> str | None:
        """Say why a request is refused whoever sent it, or None.

        ``top``: it is for the page itself, to which others may link.
        """
        host = headers.get("host", "")
        if not self._is_ours(_name(host)):
            return "this host is not served; --allow-host adds one"
        origin = headers.get("origin")
        if origin is not None and origin.lower() not in _origins(host):
            return "another origin asks"
        if not top and headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return "another site asks"
        return None

    def admits(self, headers: Mapping[str, str]) -> bool:
        """Tell whether a request shows that its sender knows the token, if there is one."""
        if self._token is None:
            return True
        scheme, _, given = headers.get("authorization", "").partition(" ")
        known = scheme.lower() == "bearer" and self.opens(given.strip())
        for part in headers.get("cookie", "").split(";"):
            name, _, value = part.strip().partition("=")
            known |= name == self._cookie_name and _are_equal(value, self._pass())
        return known

    def opens(self, token: str) -> bool:
        """Tell whether this is the token."""
        return self._token is not None and _are_equal(token, self._token)

    def cookie(self) -> str:
        """Return the Set-Cookie of who has shown the token."""
        # It goes to other servers on the same host too, as ports mean nothing to it: a path of
        # ours keeps it from most of what they are asked.
        return f"{self._cookie_name}={self._pass()}; Path=/feed; HttpOnly; SameSite=Strict"

    @property
    def _cookie_name(self) -> str:
        return f"sansio-sse-{self.port}"

    def _pass(self) -> str:
        # The same after a restart with the same token: pages that are open go on by themselves.
        return hmac.new((self._token or "").encode(), _PURPOSE, hashlib.sha256).hexdigest()

    def _is_ours(self, name: str) -> bool:
        if name == "localhost" or name.endswith(".localhost") or name in self._hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _name(host: str) -> str:
    """Return a Host header without its port, nor the brackets of an address.

    >>> _name("[::1]:80"), _name("LocalHost:80"), _name("a.example.")
    ('::1', 'localhost', 'a.example')
    """
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower().rstrip(".")


def _origins(host: str) -> tuple[str, str]:
    """Return what an Origin header may be; ``https``: a proxy before us has TLS."""
    return f"http://{host.lower()}", f"https://{host.lower()}"


def _are_equal(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))
