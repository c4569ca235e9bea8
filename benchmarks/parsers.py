"""How fast the parser is, against httpx-sse's decoder and against a practical ceiling.

Run::

    python benchmarks/parsers.py            # all of it, about two minutes
    python benchmarks/parsers.py --short    # fewer rounds

Needs ``httpx`` and ``httpx-sse`` beside this library. What is compared:

* ``sansio-sse``: ``EventStreamParser.feed``, one call per chunk;
* ``httpx-sse``: its own ``EventSource.iter_sse``, over a response that does nothing but decode the
  same chunks with httpx's text decoder;
* ``ceiling``: decode the chunk, split it at blank lines, make one ``ServerSentEvent`` of each
  piece. It is no parser: it finds no fields, and only whole chunks are right. ``bare`` is the same
  with a plain tuple.

Absolute times mean nothing on a shared machine. What is measured is CPU time; the competitors take
turns within each round, a ratio is taken within its round, and the tables show the medians of the
rounds. Beside the speed stands how many events were right.
"""

import argparse
import gc
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import cast

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import httpx
from httpx._decoders import TextDecoder
from httpx_sse import EventSource

from sansio_sse.event_stream import EventStreamParser, ServerSentEvent

Chunks = list[bytes]
Events = list[tuple[str, str]]
Consume = Callable[[Chunks], int]

WORDS = "the of and to in that it was his with as for had you not be her on at by which".split()
CJK = "事件流客户端解析器服务器发送的数据和时间戳消息队列网络连接"


# Workloads: lists of (event type, id or None, data).


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
    "CRLF": (crlf, 6000),
    "CJK": (cjk, 6000),
    "mixed, ids, comments": (mixed, 6000),
}


# Competitors: each takes the chunks and returns how many events it saw.


class _Response:
    """As much of an httpx response as httpx-sse looks at."""

    headers = httpx.Headers({"content-type": "text/event-stream"})

    def __init__(self, chunks: Chunks) -> None:
        self.chunks = chunks

    def iter_text(self) -> Iterator[str]:
        decoder = TextDecoder(encoding="utf-8")
        for chunk in self.chunks:
            text = decoder.decode(chunk)
            if text:
                yield text


def httpx_sse_of(chunks: Chunks) -> EventSource:
    """Make httpx-sse's reader of these chunks."""
    return EventSource(cast(httpx.Response, _Response(chunks)))


def run_ours(chunks: Chunks) -> int:
    """Count the events of ``EventStreamParser``."""
    feed = EventStreamParser(max_event_size=128 * 1024 * 1024).feed
    count = 0
    for chunk in chunks:
        for _ in feed(chunk):
            count += 1
    return count


def run_httpx_sse(chunks: Chunks) -> int:
    """Count the events of httpx-sse."""
    count = 0
    for _ in httpx_sse_of(chunks).iter_sse():
        count += 1
    return count


def blank_line(chunks: Chunks) -> str:
    """What separates the events of a workload."""
    return "\r\n\r\n" if b"\r\n" in chunks[0] else "\n\n"


def run_ceiling(chunks: Chunks) -> int:
    """Decode, split, one ServerSentEvent per piece."""
    count = 0
    new = tuple.__new__
    blank = blank_line(chunks)
    for chunk in chunks:
        for _ in [
            new(ServerSentEvent, ("message", block, "", None, False))
            for block in chunk.decode().split(blank)
        ]:
            count += 1
    return count


def run_bare(chunks: Chunks) -> int:
    """Decode, split, one plain tuple per piece."""
    count = 0
    blank = blank_line(chunks)
    for chunk in chunks:
        for _ in [("message", block, "", None, False) for block in chunk.decode().split(blank)]:
            count += 1
    return count


def events_of_ours(chunks: Chunks) -> Events:
    """Everything ``EventStreamParser`` made of the chunks."""
    parser = EventStreamParser(max_event_size=128 * 1024 * 1024)
    return [
        (item.event, item.data)
        for chunk in chunks
        for item in parser.feed(chunk)
        if isinstance(item, ServerSentEvent)
    ]


def events_of_httpx_sse(chunks: Chunks) -> Events:
    """Everything httpx-sse made of the chunks, with the standard's default type."""
    events = httpx_sse_of(chunks).iter_sse()
    return [(event.event or "message", event.data) for event in events]


def events_of_json(blocks: Iterable[bytes]) -> Events:
    """What the workload says its events are, by the simplest reading that is right for it."""
    events = []
    for block in blocks:
        lines = block.decode().replace("\r\n", "\n").split("\n")
        data = [line[6:] for line in lines if line.startswith("data: ")]
        kinds = [line[7:] for line in lines if line.startswith("event: ")]
        if data:
            events.append((kinds[0] if kinds else "message", "\n".join(data)))
    return events


# Measuring.


def cut(blocks: list[bytes], size: int | None) -> Chunks:
    """Chunks of ``size`` bytes; None: one block per chunk."""
    if size is None:
        return blocks
    stream = b"".join(blocks)
    return [stream[start : start + size] for start in range(0, len(stream), size)]


def measure(runners: list[Consume], chunks: Chunks, rounds: int) -> list[list[float]]:
    """CPU seconds of each runner in each round; the runners take turns."""
    times: list[list[float]] = [[] for _ in runners]
    for _ in range(rounds):
        for runner, series in zip(runners, times, strict=True):
            gc.collect()
            start = time.process_time()
            runner(chunks)
            series.append(time.process_time() - start)
    return times


def ratio(numerator: list[float], denominator: list[float]) -> float:
    """The median of the rounds' ratios."""
    return statistics.median(a / b for a, b in zip(numerator, denominator, strict=True))


def verdict(found: Events, expected: Events) -> str:
    """How many events are as they should be."""
    right = sum(a == b for a, b in zip(found, expected, strict=False))
    return f"{right}/{len(expected)}" + ("" if found == expected else f" of {len(found)} WRONG")


def table(sizes: dict[str, int | None], rounds: int, only: str) -> None:
    """Print one table."""
    for name, size in sizes.items():
        print(f"\n{name}")
        print(
            f"  {'workload':22}{'us/event':>9}{'httpx-sse':>11}{'ceiling':>9}{'bare':>7}"
            f"   events right: ours, httpx-sse"
        )
        for title, (make, count) in WORKLOADS.items():
            if only not in title:
                continue
            blocks = make(count)
            chunks = cut(blocks, size)
            if size is not None and size < 1000:
                chunks = chunks[: 60_000 // size]
            ours, theirs, ceiling, bare = measure(
                [run_ours, run_httpx_sse, run_ceiling, run_bare], chunks, rounds
            )
            expected = events_of_json(blocks)
            if size is not None and size < 1000:
                expected = expected[: len(events_of_ours(chunks))]
            per_event = statistics.median(ours) / len(expected) * 1e6
            print(
                f"  {title:22}{per_event:9.2f}{ratio(theirs, ours):10.2f}x"
                f"{ratio(ours, ceiling):9.2f}{ratio(ours, bare):7.2f}"
                f"   {verdict(events_of_ours(chunks), expected)},"
                f" {verdict(events_of_httpx_sse(chunks), expected)}"
            )


def long_line(rounds: int) -> None:
    """One long line, and how the time grows with its length.

    From about 32 MB on each buffer is fresh memory from the system, whose first touch costs more
    than the parsing. Below and above, the time per megabyte should be flat.
    """
    print("\none long line, chunks of 64 KiB")
    for megabytes in (12, 25, 50, 100):
        line = b"data: " + b"0123456789abcdef" * (megabytes * 62_500) + b"\n\n"
        chunks = cut([line], 65536)
        del line
        assert run_ours(chunks) == run_httpx_sse(chunks) == 1
        ours, theirs = measure([run_ours, run_httpx_sse], chunks, rounds)
        per_megabyte = statistics.median(ours) / megabytes * 1e6
        print(
            f"  {megabytes:3} MB: {per_megabyte:6.0f} us per MB"
            f"{ratio(theirs, ours):10.2f}x httpx-sse"
        )


SIZES: dict[str, int | None] = {
    "chunks of 64 KiB": 65536,
    "chunks of 4 KiB": 4096,
    "chunks of 1.4 KiB": 1400,
    "one event per chunk": None,
    "chunks of 1 byte": 1,
}


def main() -> None:
    """Print the tables."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--short", action="store_true", help="fewer rounds, fewer chunk sizes")
    arguments.add_argument("--only", default="", help="workloads whose name contains this")
    options = arguments.parse_args()
    print(f"Python {sys.version.split()[0]}; 'httpx-sse': its CPU time over ours, more is better;")
    print("'ceiling', 'bare': our CPU time over theirs, 1 would be perfect")
    sizes = SIZES
    if options.short:
        sizes = {name: size for name, size in SIZES.items() if size is None or size > 9999}
    table(sizes, 7 if options.short else 21, options.only)
    if not options.only:
        long_line(3 if options.short else 9)


if __name__ == "__main__":
    main()
