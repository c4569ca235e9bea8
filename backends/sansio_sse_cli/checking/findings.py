"""Everything that ``check`` can find, why it matters, and what to do about it.

A *check* is a question that is asked of every server; a *finding* is its answer. The texts are
here, in one place, so that they read as one; the judging is elsewhere.
"""

import enum
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["CHECKS", "Check", "Finding", "Severity", "by_severity"]


class Severity(enum.Enum):
    """How bad a finding is."""

    PROBLEM = "problem"
    """Clients lose events, or get them late, or get none."""
    WARNING = "warning"
    """It works now, and will not always or not everywhere."""
    UNKNOWN = "unknown"
    """It could not be told, because of too little time or too few events."""
    INFO = "info"
    """Worth knowing, and neither good nor bad."""
    OK = "ok"
    """As it should be."""


@dataclass(frozen=True, slots=True)
class Check:
    """A question that is asked of a server."""

    title: str
    """What is asked."""
    why: str
    """Why it matters."""
    do: str
    """What to do where the answer is no."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer to a check.

    >>> finding = Finding("retry", Severity.INFO, "no retry field")
    >>> finding.title
    'Reconnection time'
    """

    id: str
    severity: Severity
    seen: str
    """What was seen, in a sentence or two."""
    advice: str = ""
    """What to do in this very case; empty: what the check says."""

    @property
    def title(self) -> str:
        """What was asked."""
        return CHECKS[self.id].title

    @property
    def why(self) -> str:
        """Why it matters."""
        return CHECKS[self.id].why

    @property
    def do(self) -> str:
        """What to do; empty where nothing is to be done."""
        if self.advice or self.severity in (Severity.OK, Severity.INFO):
            return self.advice
        return CHECKS[self.id].do


def by_severity(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings, the worst first, and otherwise in their order."""
    order = list(Severity)
    return sorted(findings, key=lambda finding: order.index(finding.severity))


CHECKS: dict[str, Check] = {
    "connect": Check(
        "Connection",
        "Without a connection there is no stream.",
        "Look at the name, the port, the firewall, and whether the server runs.",
    ),
    "tls": Check(
        "TLS",
        "Old versions are refused by browsers and by many clients, and a certificate that does not"
        " verify by all of them.",
        "Serve TLS 1.2 and 1.3, with the whole chain of certificates, for the name in the url.",
    ),
    "certificate": Check(
        "Certificate",
        "When it expires, every client fails at its next reconnect, all at about the same time.",
        "Renew it, and let that be done by a machine.",
    ),
    "http": Check(
        "HTTP",
        "A browser opens six HTTP/1.1 connections to one origin, in all its tabs together, and each"
        " stream holds one of them. HTTP/2 has no such limit. What is no proper HTTP is refused.",
        "Answer with HTTP/1.1 at least, and offer HTTP/2 where browsers come.",
    ),
    "redirects": Check(
        "Redirects",
        "They are followed anew with every reconnect. One to http:// would show credentials to"
        " everybody on the way, so clients refuse it; one to another origin loses the credentials.",
        "Give clients the url where the stream is.",
    ),
    "status": Check(
        "Status",
        "Only 200 is a stream. 204 tells clients never to come again; after most other statuses an"
        " EventSource in a browser gives up for good.",
        "Answer 200 with a stream; when overloaded, 503 with Retry-After.",
    ),
    "content-type": Check(
        "Content type",
        "A client that follows the standard refuses every other type, and always reads UTF-8.",
        "Send Content-Type: text/event-stream.",
    ),
    "caching": Check(
        "Caching",
        "A cache on the way may keep the stream, or hold it back until it is whole.",
        "Send Cache-Control: no-cache, or no-store.",
    ),
    "cors": Check(
        "Other origins",
        "A page of another origin may read the stream only if the server says so.",
        "Where pages of other origins are to read it, send Access-Control-Allow-Origin.",
    ),
    "connection": Check(
        "Connection headers",
        "They say what stands in between, and whether a connection serves a further request.",
        "Nothing, as long as you know what stands in between.",
    ),
    "framing": Check(
        "Framing",
        "With chunks, or HTTP/2, a client can tell a stream that ended from one that was cut. Where"
        " the end of the connection is the end of the stream, it cannot; and a stream with a"
        " Content-Length was complete before it was sent.",
        "Answer HTTP/1.1 requests with Transfer-Encoding: chunked (a proxy may need to be told to"
        " speak HTTP/1.1 to its upstream), and without Content-Length.",
    ),
    "head": Check(
        "Response head",
        "Until the head is there a client cannot tell a quiet stream from a dead server, and in the"
        " end its response timeout decides for the latter.",
        "Send the head at once, and a comment with it, before there is an event. If the server does"
        " that, something on the way holds it back: see buffering.",
    ),
    "buffering": Check(
        "Buffering",
        "A proxy that collects a response before it passes it on makes events late, and the last"
        " ones as late as the next ones are; heartbeats too, so that clients take the stream for"
        " dead.",
        "Switch buffering off for this path: in nginx proxy_buffering off, or let the server send"
        " X-Accel-Buffering: no. Look for compression, and for buffers in the server itself, too.",
    ),
    "compression": Check(
        "Compression",
        "Compression that is not flushed with every event holds events back until a block is full.",
        "Flush the compressor after each event, or exempt text/event-stream from compression.",
    ),
    "heartbeat": Check(
        "Heartbeat",
        "Proxies, load balancers and NATs drop connections that are silent, most often after 60 s,"
        " some after 30 s, and a client can tell a dead connection only by a silence that is longer"
        " than usual.",
        "Send a comment (a line with a colon) after 15 s without an event.",
    ),
    "retry": Check(
        "Reconnection time",
        "It decides how soon all clients come back after a restart.",
        "Send retry: with some thousand milliseconds, once, at the beginning.",
    ),
    "events": Check(
        "Events",
        "Much of the rest can be told by events only.",
        "Cause some events, or listen longer: --duration 60.",
    ),
    "ids": Check(
        "Event ids",
        "An id is how a client says where to go on after an outage. Without ids, what was sent in"
        " the meantime is lost; with ids that are not unique, the wrong events are sent again.",
        "Give each event an id that is unique in its stream and names the same event for ever.",
    ),
    "resumption": Check(
        "Resumption",
        "After each outage clients send Last-Event-ID. A server that ignores it loses events or"
        " repeats them, and no client can mend that.",
        "Read Last-Event-ID, and send first what came after that event.",
    ),
    "limits": Check(
        "Further connections",
        "All clients reconnect at once after a restart, and a server that refuses them should say"
        " for how long.",
        "Send Retry-After with a 503 or 429.",
    ),
    "text": Check(
        "Text",
        "A stream is UTF-8. What is not becomes U+FFFD at the client, and an id with a NUL in it"
        " is ignored.",
        "Encode as UTF-8, and let no binary data into a stream: use base64.",
    ),
    "line-ends": Check(
        "Line ends",
        "LF, CR and CRLF are all allowed. Clients with a parser of their own often know LF alone,"
        " or LF and CRLF.",
        "End lines with LF.",
    ),
    "fields": Check(
        "Fields",
        "Unknown fields are ignored, without a word: what was meant to be said with them is lost.",
        "Use event, data, id and retry, in lower case, and put the rest into the data. Line ends"
        " within data need a data: line each.",
    ),
    "event-size": Check(
        "Size of events",
        "Many clients have a limit for a line, often 64 KiB, and fail beyond it; all have to hold"
        " an event until it is whole.",
        "Send large data in parts, or send where it can be had.",
    ),
    "ending": Check(
        "End of the stream",
        "An event that is incomplete when the stream ends is thrown away. A connection that is cut"
        " costs a reconnect.",
        "End an event with a blank line, and the response with its last chunk.",
    ),
}
"""All checks, by id, in the order of a report."""
