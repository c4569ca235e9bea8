"""How fast the parser is, beside those of others, and how right they all are.

Run::

    pip install -e . --group bench
    python benchmarks/parsers.py            # all of it, about seven minutes
    python benchmarks/parsers.py --short    # fewer rounds, two sizes of chunks, two minutes
    python benchmarks/parsers.py --workload CRLF --only httpx2 --only openai

What is measured is what is installed. ``sansio-sse`` is ``EventStreamParser.feed``, one call per
chunk. What the peers are, and how each is driven, stands in ``peers.py``. Two ceilings are no
parsers, and right only where no event is cut in two:

* *ceiling*: decode the chunk, split it at blank lines, make one ``ServerSentEvent`` of each piece;
* *bare*: the same with a plain tuple.

The tables compare CPU time. For a peer it is its time over ours, for the ceilings ours over theirs.
Each is the median of the ratios of the rounds, in which all take turns.

WRONG says that the events are not those of the workload by type, data and last event ID: how many
are right, and how many there are besides. A type of None is taken for "message". Nothing else is
allowed for: every peer says that it follows the standard, or is a copy of one that does.

For orientation there is npm's ``eventsource-parser`` in a process of node, fed the same chunks. It
runs ten times before it counts, and then ten times for each run of ours. Its text is decoded by the
``TextDecoder`` of its README or by the ``StringDecoder`` of node's streams, whichever is faster.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from peers import DECODERS, NODE, Chunks, Decoder, Event, node_parser
from ratios import chosen, cpu, heading, installed, measure, ratio, shown, table, to_the_end

from sansio_sse.event_stream import EventStreamParser, ServerSentEvent

OURS = "sansio-sse"
TIMES = 10  # runs of node in a round
LONGEST = 128 * 1024 * 1024  # bytes of an event, for those who have a limit
PATIENCE = 2.0  # CPU seconds, with a long line: who takes longer is not asked again

WORDS = "the of and to in that it was his with as for had you not be her on at by which".split()
CJK = "事件流客户端解析器服务器发送的数据和时间戳消息队列网络连接"


# Workloads: lists of blocks, each an event or a comment.


def llm_deltas(count: int) -> list[bytes]:
    """The messages of a language model, a few tokens each, with a start and a stop now and then."""
    blocks = []
    for i in range(count):
        if i % 200 == 0:
            kind = "content_block_start"
            body = {"type": kind, "index": 0, "content_block": {"type": "text", "text": ""}}
        elif i % 200 == 199:
            kind = "content_block_stop"
            body = {"type": kind, "index": 0}
        else:
            kind = "content_block_delta"
            text = " " + WORDS[i % len(WORDS)]
            body = {"type": kind, "index": 0, "delta": {"type": "text_delta", "text": text}}
        blocks.append(f"event: {kind}\ndata: {json.dumps(body)}\n\n".encode())
    return blocks


def tiny(count: int) -> list[bytes]:
    """A few bytes of data, nothing else."""
    return [f"data: {i % 1000}\n\n".encode() for i in range(count)]


def openai(count: int) -> list[bytes]:
    """Data lines of about 250 bytes without a type, as chat completions come."""
    blocks = []
    for i in range(count):
        body = {
            "id": "chatcmpl-9fYhW2q0cVbJ4tLk8mRzXsPd",
            "object": "chat.completion.chunk",
            "created": 1718000000 + i,
            "model": "gpt-4o-2024-05-13",
            "system_fingerprint": "fp_319be4768e",
            "choices": [
                {
                    "index": 0,
                    "delta": {"content": " " + WORDS[i % len(WORDS)]},
                    "logprobs": None,
                    "finish_reason": None,
                }
            ],
        }
        blocks.append(f"data: {json.dumps(body)}\n\n".encode())
    return blocks


def wikimedia(count: int) -> list[bytes]:
    """Type, a long ID that differs each time, and 1.5 KB of JSON."""
    blocks = []
    for i in range(count):
        ident = [
            {
                "topic": "eqiad.mediawiki.recentchange",
                "partition": 0,
                "timestamp": 1718000000000 + i,
            },
            {"topic": "codfw.mediawiki.recentchange", "partition": 0, "offset": -1},
        ]
        title = "Münchner Straßen" if i % 10 == 0 else "Streets of Munich"
        body = {
            "$schema": "/mediawiki/recentchange/1.0.0",
            "meta": {"uri": f"https://en.wikipedia.org/wiki/{title}", "id": f"{i:032x}"},
            "title": title,
            "comment": "copy edit, links; " * 20,
            "parsedcomment": "copy edit, <a>links</a>; " * 25,
            "length": {"old": 17000 + i, "new": 17010 + i},
        }
        data = json.dumps(body, ensure_ascii=False)
        blocks.append(f"event: message\nid: {json.dumps(ident)}\ndata: {data}\n\n".encode())
    return blocks


def multi_line(count: int) -> list[bytes]:
    """Twenty data lines per event."""
    return [
        b"".join(f"data: line {j} of {i}, {WORDS[j]}\n".encode() for j in range(20)) + b"\n"
        for i in range(count)
    ]


def crlf(count: int) -> list[bytes]:
    """Language model deltas with CRLF line ends, as sse-starlette sends by default."""
    return [block.replace(b"\n", b"\r\n") for block in llm_deltas(count)]


def cjk(count: int) -> list[bytes]:
    """Deltas in Chinese, and every tenth has an emoji."""
    blocks = []
    for i in range(count):
        text = CJK[i % 20 : i % 20 + 6] + ("🙂" if i % 10 == 0 else "")
        body = {"type": "delta", "text": text}
        blocks.append(f"event: delta\ndata: {json.dumps(body, ensure_ascii=False)}\n\n".encode())
    return blocks


def heartbeats(count: int) -> list[bytes]:
    """Comments of three kinds, as servers and proxies send them, and an event after twenty."""
    blocks = []
    for i in range(count):
        if i % 20 == 19:
            blocks.append(f'event: price\ndata: {{"EUR": {i}}}\n\n'.encode())
        else:
            stamp = f"2024-06-10 06:{i // 60 % 60:02}:{i % 60:02}.123456+00:00"
            blocks.append((b":\n\n", b": keep-alive\n\n", f": ping - {stamp}\n\n".encode())[i % 3])
    return blocks


def mixed(count: int) -> list[bytes]:
    """Types that alternate, IDs on some, comments in between."""
    blocks = []
    for i in range(count):
        ident = f"id: {i}\n" if i % 3 == 0 else ""
        kind = f"event: {WORDS[i % 5]}\n" if i % 2 else ""
        blocks.append(f"{ident}{kind}data: {WORDS[i % len(WORDS)]} {i}\n\n".encode())
        if i % 10 == 0:
            blocks.append(b": keep-alive\n\n")
    return blocks


WORKLOADS: dict[str, tuple[Callable[[int], list[bytes]], int]] = {
    "LLM deltas": (llm_deltas, 6000),
    "tiny": (tiny, 10000),
    "OpenAI-style": (openai, 4000),
    "wikimedia 1.5 KB": (wikimedia, 1500),
    "20 lines": (multi_line, 1000),
    "heartbeats, comments": (heartbeats, 10000),
    "CJK, emoji": (cjk, 6000),
    "CRLF": (crlf, 6000),
    "mixed ids": (mixed, 6000),
}

# Bytes in a chunk; None: one block in each.
SIZES: dict[str, int | None] = {
    "64 KiB": 65536,
    "4 KiB": 4096,
    "1.4 KiB": 1434,
    "one event": None,
    "1 byte": 1,
}
FEW = 60_000  # bytes are plenty if they come one by one


def is_tiny(size: int | None) -> bool:
    """Whether chunks are so small that fewer of them will do, and that they are no ceiling."""
    return size is not None and size < 1000


def workload(name: str, size: int | None) -> tuple[Chunks, list[Event]]:
    """Return the chunks of a workload, and what is in them."""
    make, count = WORKLOADS[name]
    blocks = make(count)
    if is_tiny(size):
        blocks = at_most(blocks, FEW)
    return chunks_of(blocks, size), as_written(blocks)


def chunks_of(blocks: list[bytes], size: int | None) -> Chunks:
    """Cut a workload."""
    if size is None:
        return blocks
    stream = b"".join(blocks)
    return [stream[start : start + size] for start in range(0, len(stream), size)]


def at_most(blocks: list[bytes], size: int) -> list[bytes]:
    """As many blocks as have that many bytes."""
    total = 0
    for number, block in enumerate(blocks):
        total += len(block)
        if total > size:
            return blocks[:number]
    return blocks


def as_written(blocks: Iterable[bytes]) -> list[Event]:
    """What the events of a workload are, by the simplest reading that is right for it."""
    events = []
    last_id = ""
    for block in blocks:
        lines = block.decode().replace("\r\n", "\n").split("\n")
        data = [line[6:] for line in lines if line.startswith("data: ")]
        kinds = [line[7:] for line in lines if line.startswith("event: ")]
        for line in lines:
            if line.startswith("id: "):
                last_id = line[4:]
        if data:
            events.append((kinds[0] if kinds else "message", "\n".join(data), last_id))
    return events


# Contestants that are no peers.


def blank_line(chunks: Chunks) -> str:
    """What separates the blocks of a workload."""
    return "\r\n\r\n" if b"\r\n" in chunks[0] else "\n\n"


def count_ours(chunks: Chunks, limit: int | None) -> int:
    """Count what ``EventStreamParser`` finds."""
    feed = parser_of(limit).feed
    found = 0
    for chunk in chunks:
        for _ in feed(chunk):
            found += 1
    return found


def events_of_ours(chunks: Chunks, limit: int | None) -> list[Event]:
    """Everything ``EventStreamParser`` makes of the chunks."""
    parser = parser_of(limit)
    return [
        (item.event, item.data, item.id)
        for chunk in chunks
        for item in parser.feed(chunk)
        if isinstance(item, ServerSentEvent)
    ]


def parser_of(limit: int | None) -> EventStreamParser:
    return EventStreamParser(max_event_size=limit) if limit else EventStreamParser()


def ceiling(chunks: Chunks) -> int:
    """Decode, split, one ServerSentEvent per piece."""
    found = 0
    new = tuple.__new__
    blank = blank_line(chunks)
    for chunk in chunks:
        for _ in [
            new(ServerSentEvent, ("message", block, "", None, False))
            for block in chunk.decode(errors="replace").split(blank)
        ]:
            found += 1
    return found


def bare(chunks: Chunks) -> int:
    """Decode, split, one plain tuple per piece."""
    found = 0
    blank = blank_line(chunks)
    for chunk in chunks:
        for _ in [
            ("message", block, "", None, False)
            for block in chunk.decode(errors="replace").split(blank)
        ]:
            found += 1
    return found


# Tables.


def wrong(found: list[Event], expected: list[Event]) -> str:
    """Say how many events are right and how many should not be, unless all is well."""
    if found == expected:
        return ""
    right = (Counter(found) & Counter(expected)).total()
    more = f" +{len(found) - right}" if len(found) > right else ""
    return f" WRONG {right}/{len(expected)}{more}"


def by_workload(size: int | None, names: list[str], peers: dict[str, Decoder], rounds: int) -> None:
    """Print how everybody does with chunks of one size."""
    rows = []
    for name in names:
        chunks, expected = workload(name, size)
        runs: dict[str, Callable[[], object]] = {OURS: partial(count_ours, chunks, None)}
        marks = {}
        for peer, decoder in peers.items():
            try:
                marks[peer] = wrong(decoder.events(chunks, None), expected)
            except Exception as error:
                marks[peer] = f"fails: {type(error).__name__}"
            else:
                runs[peer] = partial(decoder.count, chunks, None)
        if not is_tiny(size):
            runs |= {"ceiling": partial(ceiling, chunks), "bare": partial(bare, chunks)}
        times = measure(runs, rounds)
        ours = times[OURS]
        row = [
            name,
            f"{statistics.median(ours) / len(expected) * 1e6:.2f}",
            f"{len(expected)}{wrong(events_of_ours(chunks, None), expected)}",
        ]
        for peer in peers:
            speed = f"{shown(ratio(times[peer], ours))}x" if peer in runs else ""
            row.append(speed + marks[peer])
        for limit in ("ceiling", "bare"):
            row.append(shown(ratio(ours, times[limit])) if limit in runs else "")
        rows.append(row)
    table(["", "ours, µs", "events", *peers, "ceiling", "bare"], rows)


def long_line(megabytes: int) -> tuple[Chunks, list[Event]]:
    data = "0123456789abcdef" * (megabytes * 62_500)
    return chunks_of([f"data: {data}\n\n".encode()], 65536), [("message", data, "")]


def by_length(peers: dict[str, Decoder], lengths: Sequence[int], rounds: int) -> None:
    """Print how everybody does with one line, and how our time for a megabyte grows with it.

    From about 32 MB on each buffer is fresh memory from the system, whose first touch costs more
    than the parsing.
    """
    lines = {length: long_line(length) for length in lengths}
    of_ours = measure(
        {str(length): partial(count_ours, lines[length][0], LONGEST) for length in lengths}, rounds
    )
    shortest = of_ours[str(lengths[0])]
    rows = []
    given_up: dict[str, str] = {}
    for length, (chunks, expected) in lines.items():
        growth = ratio(of_ours[str(length)], shortest) * lengths[0] / length
        if wrong(events_of_ours(chunks, LONGEST), expected):
            raise SystemExit(f"we are wrong with {length} MB")
        marks: dict[str, str] = {}
        slow: dict[str, float] = {}
        runs: dict[str, Callable[[], object]] = {OURS: partial(count_ours, chunks, LONGEST)}
        for peer, decoder in peers.items():
            if peer in given_up:
                continue
            before = time.process_time()
            try:
                marks[peer] = wrong(decoder.events(chunks, LONGEST), expected)
            except Exception as error:
                given_up[peer] = f"fails: {type(error).__name__}"
                continue
            took = time.process_time() - before
            if took > PATIENCE:
                slow[peer] = took
                given_up[peer] = "not tried"
            else:
                runs[peer] = partial(decoder.count, chunks, LONGEST)
        times = measure(runs, rounds)
        ours = times[OURS]
        row = [f"{length} MB", f"{statistics.median(ours) / length * 1e6:.0f}", shown(growth)]
        for peer in peers:
            if peer in runs:
                row.append(f"{shown(ratio(times[peer], ours))}x{marks[peer]}")
            elif peer in slow:
                row.append(f"{shown(slow[peer] / statistics.median(ours))}x{marks[peer]}")
            else:
                row.append(given_up[peer])
        rows.append(row)
    table(["one line, 64 KiB", "ours, µs per MB", "growth", *peers], rows)


def beside_node(names: list[str], rounds: int) -> None:
    """Print how the parser of npm does, in a process of node."""
    with node_parser() as node, tempfile.TemporaryDirectory() as directory:
        if node is None:
            return
        path = Path(directory) / "chunks"
        sizes: list[int | None] = [65536, None]
        rows = []
        for name in names:
            row = [name]
            for size in sizes:
                chunks, expected = workload(name, size)
                path.write_bytes(b"".join(len(one).to_bytes(4, "little") + one for one in chunks))
                node.ask({"load": str(path)})
                found = [(kind, data, last) for kind, data, last in node.ask({"events": True})]
                node.ask({"run": TIMES})
                ours, theirs = [], []
                for _ in range(rounds):
                    ours.append(cpu(partial(count_ours, chunks, None)))
                    theirs.append(node.ask({"run": TIMES}))
                row.append(f"{shown(ratio(theirs, ours))}x{wrong(found, expected)}")
            rows.append(row)
        print(f"\nFor orientation: {node.heading}")
        table(["", *(f"{NODE}, {title}" for title in ("64 KiB", "one event"))], rows)


def main() -> None:
    """Print the tables."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--short", action="store_true", help="fewer rounds, two sizes of chunks")
    arguments.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="peers whose name contains this"
    )
    arguments.add_argument(
        "--workload", action="append", default=[], metavar="NAME", help="the same for workloads"
    )
    options = arguments.parse_args()
    rounds = 5 if options.short else 9
    need = {name: needs for name, (needs, _) in DECODERS.items()}
    names = installed({name: need[name] for name in chosen(need, options.only)})
    peers = {name: DECODERS[name][1]() for name in names}
    print(
        heading(["sansio-sse", *sorted({one for name in names for one in need[name]})]), flush=True
    )
    workloads = chosen(WORKLOADS, options.workload)
    for title, size in SIZES.items():
        if workloads and not (options.short and title not in ("64 KiB", "one event")):
            print(f"\nChunks of {title}")
            by_workload(size, workloads, peers, rounds)
    if chosen(["long line"], options.workload):
        by_length(peers, *(((12, 25, 50), 2) if options.short else ((12, 25, 50, 100), 4)))
    if workloads and chosen([NODE], options.only):
        beside_node(workloads, rounds)


if __name__ == "__main__":
    to_the_end(main)
