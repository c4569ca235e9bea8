"""From receptions to findings: one small function for each check, pure.

Each of them says what was seen and how bad that is; why it matters and what to do is in
:mod:`.findings`. Where time or the stream did not allow to tell, they say so. What a server sent is
quoted by :meth:`Facts.quote` alone: cut to length, and with the caller's secrets taken out.
"""

from bisect import bisect
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from sansio_sse import ContentEncodingError, InsecureRedirect, Response, TLSError
from sansio_sse.errors import redact_text, redact_url
from sansio_sse.http import is_event_stream, retry_after

from ..terminal import duration, size
from .findings import CHECKS, Finding, Severity
from .lumps import judge_buffering, torn
from .reception import PAUSE, Reception, TLSFacts
from .resumption import judge_ids, judge_resumption
from .scan import MAX_EVENT, MAX_LINES, Place

__all__ = ["Facts", "judge", "unreachable"]

_SHOWN = 60  # characters of what a server says
_DAY = 86400.0
_IDLE, _SHORT_IDLE = 60.0, 30.0  # s; how long proxies wait, most and some of them
_PATIENCE = 5.0  # s without a head, after which it is odd
_LINE_LIMIT = 64 * 1024  # of Go's bufio.Scanner and of asyncio's StreamReader
_OLD_TLS = ("SSLv2", "SSLv3", "TLSv1", "TLSv1.1")

_OK, _INFO, _UNKNOWN = Severity.OK, Severity.INFO, Severity.UNKNOWN
_WARNING, _PROBLEM = Severity.WARNING, Severity.PROBLEM


@dataclass(slots=True)
class Facts:
    """What the probes brought, as far as they came."""

    duration: float
    """Seconds that were to be listened."""
    now: float
    """Seconds since 1970."""
    hide: Callable[[str], str] = str
    """Takes the caller's secrets out of a text."""
    repeatable: bool = True
    """Whether the request may be sent more than once."""
    hops: list[Reception] | None = None
    """The redirects on the way to the stream."""
    heard: Reception | None = None
    """The stream, listened to."""
    resumed: Reception | None = None
    """The stream, asked to go on after an event."""
    control: Reception | None = None
    """The stream, asked without a cursor."""
    compressed: Reception | None = None
    """The stream, asked with Accept-Encoding: gzip."""
    alpn: str | None = None
    """Which protocol a server chose that was offered HTTP/2; empty: none; None: not asked."""

    def quote(self, text: str) -> str:
        """Return a server's text in quotation marks: without secrets, and not all of a long one."""
        text = self.hide(text)  # first: half a secret would not be known for one
        if len(text) > _SHOWN:
            text = f"{text[:_SHOWN]}…"
        return f"“{text}”"

    def header(self, response: Response, name: str) -> str:
        """Return a header's values in quotation marks."""
        value = ", ".join(response.header_values(name))
        try:
            value = value.encode("latin-1").decode()  # what the caller sent us to send is UTF-8
        except UnicodeError:
            pass
        return self.quote(value)

    def fault(self, reception: Reception) -> str:
        """Return what went wrong with a reception."""
        error = reception.error
        if isinstance(error, ContentEncodingError) and reception.response is not None:
            # Its own words quote the server, and cut before anything was hidden.
            return (
                f"a coding nobody asked for: {self.header(reception.response, 'content-encoding')}"
            )
        return "" if error is None else self.hide(error.message)


def judge(facts: Facts) -> list[Finding]:
    """Return what can be found, in the order of the list of checks; nothing is said twice."""
    heard = facts.heard
    if heard is None:
        return []
    found = [_connect(facts, heard)]
    if heard.opened_at is not None:
        found += [*_tls(facts, heard), _http(facts, heard), *_redirects(facts)]
    if heard.response is not None:
        found += _of_head(facts, heard, heard.response)
    if heard.streams:
        found += _of_stream(facts, heard)
    elif heard.opened_at is not None and heard.response is None and heard.error is None:
        found += [_head(heard), judge_buffering(heard)]
    order = list(CHECKS)
    return sorted(found, key=lambda finding: order.index(finding.id))


def unreachable(facts: Facts) -> bool:
    """Tell whether there was nothing to be judged, since there was no connection."""
    heard = facts.heard
    return (
        heard is not None
        and heard.opened_at is None
        and heard.error is not None
        and not _is_about_certificate(heard)
    )


# --- The connection ----------------------------------------------------------------------------


def _connect(facts: Facts, heard: Reception) -> Finding:
    if heard.opened_at is not None:
        return Finding("connect", _OK, f"there after {duration(heard.opening)}")
    if heard.error is None:
        seen = "interrupted before there was a connection"
        return Finding("connect", _UNKNOWN, seen, "Try again.")
    if _is_about_certificate(heard):
        advice = f"{CHECKS['tls'].do} --insecure checks the rest."
        return Finding("tls", _PROBLEM, facts.fault(heard), advice)
    return Finding("connect", _PROBLEM, facts.fault(heard))


def _is_about_certificate(heard: Reception) -> bool:
    return isinstance(heard.error, TLSError) and not heard.error.retryable


def _tls(facts: Facts, heard: Reception) -> list[Finding]:
    tls = heard.tls
    if tls is None:
        if heard.request.origin.secure:
            return []
        seen = "no TLS: everybody on the way can read, and change, what is sent"
        return [Finding("tls", _INFO, seen)]
    severity = _PROBLEM if tls.version in _OLD_TLS else _OK
    found = [Finding("tls", severity, f"{tls.version}, {tls.cipher}")]
    if tls.expires is None:
        seen = "not looked at, because certificates were not to be verified"
        found.append(Finding("certificate", _UNKNOWN, seen, "Check without --insecure."))
        return found
    found.append(_certificate(tls, tls.expires - facts.now))
    return found


def _certificate(tls: TLSFacts, left: float) -> Finding:
    seen = f"verified; expires in {_long(left)}"
    if tls.lifetime is not None and left >= tls.lifetime / 4:
        return Finding("certificate", _OK, seen)  # some live for a day, and are renewed in time
    severity = _PROBLEM if left < 3 * _DAY else _WARNING if left < 14 * _DAY else _OK
    return Finding("certificate", severity, seen)


def _long(seconds: float) -> str:
    if seconds < 2 * _DAY:
        return f"{seconds / 3600:.0f} hours"
    return f"{seconds / _DAY:.0f} days"


def _http(facts: Facts, heard: Reception) -> Finding:
    response = heard.response
    if response is None:
        if heard.error is not None:
            return Finding("http", _PROBLEM, facts.fault(heard))
        return Finding("http", _UNKNOWN, "there was no answer", "See head.")
    if response.http_version == "1.0":
        return Finding("http", _WARNING, "the server answered HTTP/1.0")
    spoken = f"HTTP/{response.http_version}"
    if facts.alpn is None:
        return Finding("http", _OK, f"{spoken}; HTTP/2 was not tried")
    if facts.alpn == "h2":
        return Finding("http", _OK, f"{spoken}, and HTTP/2 is offered")
    seen = f"{spoken}; HTTP/2 is not offered"
    return Finding("http", _INFO, seen)


def _redirects(facts: Facts) -> list[Finding]:
    hops = facts.hops or []
    heard = facts.heard
    assert heard is not None
    if isinstance(heard.error, InsecureRedirect):
        return [Finding("redirects", _PROBLEM, facts.fault(heard))]
    if not hops:
        return []
    statuses = ", ".join(str(hop.response.status) for hop in hops if hop.response is not None)
    seen = f"{len(hops)} ({statuses}) to {facts.hide(redact_url(heard.request.url))}"
    origins = {hop.request.origin for hop in hops} | {heard.request.origin}
    return [Finding("redirects", _WARNING if len(hops) > 1 or len(origins) > 1 else _INFO, seen)]


# --- The head ----------------------------------------------------------------------------------


def _of_head(facts: Facts, heard: Reception, response: Response) -> list[Finding]:
    found = [_status(facts, response)]
    if response.status == 200:
        found.append(_content_type(facts, response))
    return found


def _status(facts: Facts, response: Response) -> Finding:
    status = response.status
    if status == 200:
        return Finding("status", _OK, "200")
    seen = f"the server answered {status}"
    wait = retry_after(response)
    if wait is not None:
        seen += f", and asks to wait {duration(wait)}"
    if status == 204:
        seen += ", which tells clients not to come again"
    elif 300 <= status < 400:
        seen += f" to {_location(facts, response)}, which was not followed"
    elif status in (401, 403):
        return Finding("status", _PROBLEM, seen, "Give credentials: -H @FILE or -u.")
    return Finding("status", _PROBLEM, seen)


def _location(facts: Facts, response: Response) -> str:
    return facts.quote(redact_text(redact_url(response.header("location") or "")))


def _content_type(facts: Facts, response: Response) -> Finding:
    value = response.header("content-type")
    if value is None:
        return Finding("content-type", _PROBLEM, "there is none")
    seen = facts.header(response, "content-type")
    if not is_event_stream(response):
        return Finding("content-type", _PROBLEM, seen)
    for parameter in value.split(";")[1:]:
        name, _, charset = parameter.strip().partition("=")
        if name.lower() == "charset" and charset.strip("\"'").lower() not in ("utf-8", "utf8"):
            return Finding("content-type", _WARNING, f"{seen}: it is read as UTF-8 all the same")
    return Finding("content-type", _OK, seen)


def _caching(facts: Facts, response: Response) -> Finding:
    values = response.header_values("cache-control")
    shown = facts.header(response, "cache-control")
    if any(value.lower() in ("no-store", "no-cache", "private") for value in values):
        return Finding("caching", _OK, shown)
    seen = f"Cache-Control is {shown}" if values else "no Cache-Control"
    return Finding("caching", _WARNING, seen)


def _cors(facts: Facts, response: Response) -> Finding:
    if response.header("access-control-allow-origin") is None:
        return Finding("cors", _INFO, "no Access-Control-Allow-Origin: pages of its origin alone")
    value = facts.header(response, "access-control-allow-origin")
    return Finding("cors", _INFO, f"Access-Control-Allow-Origin: {value}")


def _connection(facts: Facts, response: Response) -> Finding:
    names = ("Connection", "Keep-Alive", "Server", "Via", "X-Accel-Buffering")
    said = [
        f"{name}: {facts.header(response, name)}"
        for name in names
        if response.header(name) is not None
    ]
    return Finding("connection", _INFO, ", ".join(said) or "none of them")


def _framing(heard: Reception) -> Finding:
    assert heard.response is not None
    if heard.framing == "chunked":
        return Finding("framing", _OK, "chunked: an end can be told from a cut")
    if heard.framing == "length":
        seen = f"Content-Length: {heard.response.header('content-length')}"
        return Finding("framing", _WARNING, seen)
    return Finding("framing", _WARNING, "the end of the connection is the end of the stream")


def _head(heard: Reception) -> Finding:
    assert heard.opened_at is not None
    if heard.head_at is None:
        over = heard.over_at if heard.over_at is not None else heard.opened_at
        waited = duration(over - heard.opened_at)
        if over - heard.opened_at < _PATIENCE:
            return Finding("head", _UNKNOWN, f"none within {waited}", "Listen longer.")
        return Finding("head", _PROBLEM, f"none within {waited}")
    took = heard.head_at - heard.opened_at
    seen = f"there after {duration(took)}"
    if took < 1.0:
        return Finding("head", _OK, seen)
    if heard.lumps and heard.lumps[0].began - heard.head_at < PAUSE:
        return Finding("head", _WARNING, f"{seen}, together with the beginning of the stream")
    return Finding("head", _WARNING, seen)


# --- The stream --------------------------------------------------------------------------------


def _of_stream(facts: Facts, heard: Reception) -> list[Finding]:
    assert heard.response is not None
    return [
        _head(heard),
        _framing(heard),
        _caching(facts, heard.response),
        _cors(facts, heard.response),
        _connection(facts, heard.response),
        judge_buffering(heard),
        _compression(facts, heard),
        _heartbeat(heard),
        _retry(heard),
        _events(facts, heard),
        judge_ids(heard, facts.quote),
        _resumption(facts, heard),
        *_limits(facts),
        _text(heard),
        _line_ends(heard),
        _fields(facts, heard),
        _event_size(heard),
        _ending(facts, heard),
    ]


def _compression(facts: Facts, heard: Reception) -> Finding:
    assert heard.response is not None
    codings = _codings(heard.response)
    if codings:
        seen = (
            f"{facts.header(heard.response, 'content-encoding')}, although identity was asked for"
        )
        return Finding("compression", _WARNING, seen)
    asked = facts.compressed
    if asked is None or asked.response is None or not asked.streams:
        return Finding("compression", _UNKNOWN, "it was not tried, or not answered", "See limits.")
    codings = _codings(asked.response)
    if not codings:
        return Finding("compression", _OK, "none, also where gzip is asked for")
    name = facts.header(asked.response, "content-encoding")
    if asked.error is not None:
        return Finding("compression", _PROBLEM, f"{name}: {facts.fault(asked)}")
    owed = _events_within(heard, asked.listened)
    if asked.events:
        return _flushed(name, asked)
    if owed >= 2:
        seen = (
            f"{name}: no event within {duration(asked.listened)}, where without it"
            f" there were {owed}"
        )
        return Finding("compression", _PROBLEM, seen)
    return Finding("compression", _UNKNOWN, f"{name}, and no event came", "Cause some events.")


def _codings(response: Response) -> list[str]:
    values = response.header_values("content-encoding")
    return [value for value in values if value.lower() != "identity"]


def _events_within(heard: Reception, seconds: float) -> int:
    """Count events that came within so many seconds, in the leanest time of that length.

    The beginning does not count: many a server begins with what was before.
    """
    times = [seen.at for seen in heard.events]
    if heard.over_at is None or heard.head_at is None:
        return 0
    starts = [at for at in (*times, heard.head_at) if at + seconds <= heard.over_at]
    # The times are in order: what lies behind a start is counted by where it would stand.
    counts = (bisect(times, start + seconds) - bisect(times, start) for start in starts)
    return min(counts, default=0)


def _flushed(name: str, asked: Reception) -> Finding:
    lumps = asked.lumps
    cut = len(torn(lumps, asked.opening))
    if cut > 1:
        seen = f"{name}; {cut} of {len(lumps)} lumps end within a line: it is not flushed"
        return Finding("compression", _PROBLEM, seen)
    if cut or len(lumps) < 2:
        return Finding(
            "compression", _UNKNOWN, f"{name}; too little came to tell", "Listen longer."
        )
    return Finding("compression", _OK, f"{name}, and flushed: events come as they are sent")


def _heartbeat(heard: Reception) -> Finding:
    silence = heard.longest_silence
    seen = f"the longest silence was {duration(silence)}; {_comments(heard)}"
    if silence >= _IDLE:
        return Finding("heartbeat", _PROBLEM, seen)
    if silence >= _SHORT_IDLE:
        return Finding("heartbeat", _WARNING, seen)
    gaps = [after - before for before, after in pairwise(_beats(heard))]
    if gaps:
        return Finding("heartbeat", _OK, f"{seen}, the slowest after {duration(max(gaps))}")
    if heard.listened >= _IDLE:
        return Finding("heartbeat", _OK, seen)
    if heard.ended:
        return Finding("heartbeat", _OK, f"{seen}; the stream has ended")
    return Finding(
        "heartbeat",
        _UNKNOWN,
        f"{seen}: how long a quiet stream stays silent cannot be told from"
        f" {duration(heard.listened)}",
        "Listen longer than proxies wait, while nothing happens: --duration 70.",
    )


def _beats(heard: Reception) -> list[float]:
    """Return when heartbeats came: comments that do not simply come with every event."""
    beats = [lump for lump in heard.lumps if lump.comments]
    alone = sum(not lump.events for lump in beats)
    events = sum(bool(lump.events) for lump in heard.lumps)
    if alone < 2 and 2 * len(beats) > events:
        return []
    return [lump.began for lump in beats]


def _comments(heard: Reception) -> str:
    count = heard.scan.comments
    return "no comments" if not count else f"{count} comment{'' if count == 1 else 's'}"


def _retry(heard: Reception) -> Finding:
    retry, bad = heard.scan.retry, heard.scan.bad_retries
    if bad:
        return Finding("retry", _WARNING, f"{bad} retry lines are no number, and are ignored")
    if retry is None:
        return Finding("retry", _INFO, "none: clients take their own, a few seconds most often")
    seen = f"{retry} ms"
    if not 100 <= retry <= 60_000:
        what = "all come at once" if retry < 100 else "an outage lasts as long for each client"
        return Finding("retry", _WARNING, f"{seen}: {what}")
    return Finding("retry", _OK, seen)


def _events(facts: Facts, heard: Reception) -> Finding:
    count = len(heard.events)
    if not count:
        return Finding("events", _UNKNOWN, f"none within {duration(heard.listened)}")
    kinds = list(dict.fromkeys(seen.event for seen in heard.events))
    shown = ", ".join(facts.quote(kind) for kind in kinds[:5])
    more = f" and {len(kinds) - 5} more" if len(kinds) > 5 else ""
    most = "more than are counted, the first " if heard.full else ""
    seen = f"{most}{count} in {duration(heard.listened)}, of type {shown}{more}"
    return Finding("events", _INFO, seen)


def _resumption(facts: Facts, heard: Reception) -> Finding:
    if not facts.repeatable:
        seen = f"not tried: a {heard.request.method} may have effects each time"
        return Finding("resumption", _UNKNOWN, seen, "Try it where an effect does no harm.")
    return judge_resumption(heard, facts.resumed, facts.control, facts.quote)


def _limits(facts: Facts) -> list[Finding]:
    """Tell what became of the further requests, if there were any."""
    further = [one for one in (facts.resumed, facts.control, facts.compressed) if one is not None]
    refused = [one.response for one in further if one.response and one.response.status >= 400]
    lost = [one for one in further if one.error is not None and one.response is None]
    if refused:
        waits = [wait for each in refused if (wait := retry_after(each)) is not None]
        seen = f"{len(refused)} of {len(further)} refused with {refused[0].status}"
        if waits:
            return [Finding("limits", _INFO, f"{seen}, to wait {duration(max(waits))}")]
        return [Finding("limits", _WARNING, f"{seen}, without Retry-After")]
    if lost:
        return [
            Finding("limits", _WARNING, f"{len(lost)} of {len(further)}: {facts.fault(lost[0])}")
        ]
    if not further:
        return []
    silent = sum(one.response is None for one in further)
    if silent:
        seen = f"{silent} of {len(further)} not answered within {duration(facts.duration / 2)}"
        return [Finding("limits", _UNKNOWN, seen, "Listen longer.")]
    seen = "1 further connection" if len(further) == 1 else f"{len(further)} further connections"
    return [Finding("limits", _OK, f"{seen}, all answered")]


def _text(heard: Reception) -> Finding:
    scan = heard.scan
    if scan.not_utf8:
        return Finding("text", _PROBLEM, f"{scan.not_utf8} lines are not UTF-8")
    if scan.ids_with_nul:
        return Finding("text", _WARNING, f"{scan.ids_with_nul} ids have a NUL in them")
    if scan.bom:
        return Finding("text", _INFO, "UTF-8; a byte order mark at the beginning, which is ignored")
    if not scan.size:
        return Finding("text", _UNKNOWN, "nothing came", CHECKS["events"].do)
    return Finding("text", _OK, "UTF-8")


def _line_ends(heard: Reception) -> Finding:
    kinds = [name for name, count in heard.scan.line_ends.items() if count]
    seen = ", ".join(kinds)
    if not kinds:
        return Finding("line-ends", _UNKNOWN, "no line came", CHECKS["events"].do)
    if len(kinds) > 1 or "CR" in kinds:
        return Finding("line-ends", _WARNING, f"{seen}{' mixed' if len(kinds) > 1 else ''}")
    return Finding("line-ends", _OK, seen)


def _fields(facts: Facts, heard: Reception) -> Finding:
    unknown = heard.scan.unknown
    if unknown:
        names = ", ".join(facts.quote(name) for name in unknown)
        return Finding("fields", _WARNING, f"unknown fields: {names}")
    if not heard.scan.size:
        return Finding("fields", _UNKNOWN, "nothing came", CHECKS["events"].do)
    return Finding("fields", _OK, "known ones alone")


def _event_size(heard: Reception) -> Finding:
    scan = heard.scan
    unending = scan.full and not heard.events and scan.place is not Place.BETWEEN
    if scan.too_large or unending:
        seen = f"an event has more than {size(MAX_EVENT)}, or more than {MAX_LINES} lines"
        return Finding("event-size", _PROBLEM, seen)
    line = scan.longest_line
    if line > _LINE_LIMIT:
        return Finding("event-size", _WARNING, f"a line has {size(line)}")
    if not heard.events:
        return Finding("event-size", _UNKNOWN, "no event came", CHECKS["events"].do)
    largest = max(seen.size for seen in heard.events)
    return Finding("event-size", _OK, f"the longest line has {size(line)}, data {largest} letters")


def _ending(facts: Facts, heard: Reception) -> Finding:
    after = f"after {duration(heard.listened)}"
    if heard.left or heard.over_at is None:
        why = ": it was more than is looked at" if heard.full else ""
        return Finding("ending", _INFO, f"it was us who left, {after}{why}")
    if heard.error is not None:
        return Finding("ending", _PROBLEM, f"{facts.fault(heard)}, {after}")
    if heard.scan.place is not Place.BETWEEN:
        return Finding("ending", _PROBLEM, f"ended {heard.scan.place.value}, {after}")
    return Finding("ending", _INFO, f"ended by the server, {after}, behind a whole event")
