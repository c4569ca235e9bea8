"""Requests and responses of httpx and httpx2, made of those of :mod:`sansio_sse` or into them.

Nothing is sent here and nothing is judged. Header values are bytes on the wire: of a request they
are kept as they are, whatever they mean; of a response they are read as Latin-1, as the core wants
them.
"""

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from sansio_sse import Request, Response

__all__ = ["core_request", "core_response", "decodable", "own_request"]

# What the core decodes; see sansio_sse.content_coding.
_DECODED = frozenset({"deflate", "gzip", "identity", "x-gzip"})

# These say how one body was framed, and are made anew for another.
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})

# A header that is not UTF-8 comes through as it is.
_TEXT = ("utf-8", "surrogateescape")


def core_request(module: ModuleType, request: Any) -> tuple[Request, bool]:
    """Return a client's request as one of the core, and whether its whole content is in it.

    Content that the client makes while it sends is not: it can be made once only. Credentials in
    the url have become a header by now.
    """
    url = request.url
    if url.userinfo or url.fragment:
        url = url.copy_with(userinfo=b"", fragment=None)
    headers = tuple(
        (name.decode(*_TEXT), value.decode(*_TEXT))
        for name, value in request.headers.raw
        if name.lower() not in _FRAMING
    )
    whole = isinstance(request.stream, module.ByteStream)
    content: bytes | None = (request.read() if whole else None) or None
    return Request(request.method, str(url), headers, content), whole


def own_request(module: ModuleType, request: Request, extensions: Mapping[str, Any]) -> Any:
    """Return a request of the core as one of the client's module."""
    headers = [(name.encode(*_TEXT), value.encode(*_TEXT)) for name, value in request.headers]
    return module.Request(
        request.method,
        request.url,
        headers=headers,
        content=request.content,
        extensions=dict(extensions),
    )


def core_response(response: Any) -> Response:
    """Return the head of a client's response as one of the core."""
    headers = tuple(
        (name.decode("latin-1"), value.decode("latin-1")) for name, value in response.headers.raw
    )
    return Response(response.status_code, headers, response.http_version.removeprefix("HTTP/"))


def decodable(accepted: str) -> str:
    """Return an Accept-Encoding without the codings that the core does not decode.

    >>> decodable("gzip, deflate, br, zstd"), decodable("br")
    ('gzip, deflate', 'identity')
    """
    codings = [coding.strip() for coding in accepted.split(",")]
    kept = [c for c in codings if c.partition(";")[0].strip().lower() in _DECODED]
    return ", ".join(kept) or "identity"
