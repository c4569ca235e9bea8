"""The parser says what the literal reading of the standard says, however the stream is cut.

An input is one byte that says where the stream is cut and whether blocks count as large, and the
stream. Run it with the options of libFuzzer and its corpus::

    python fuzz/fuzz_event_stream.py -max_total_time=60 fuzz/corpus/event_stream

``--planted`` plants a bug, which a run must find: a lone CR inside a run of events that look alike
is no line end. No seed has one there.
"""

import random
import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

with atheris.instrument_imports(include=["sansio_sse.event_stream"]):
    from sansio_sse import event_stream

import event_stream_reference as reference

USUAL, LARGE = event_stream._LARGE, 12


def check(choice: int, stream: bytes) -> None:
    draw = random.Random(choice)
    last_event_id = "before" if choice & 2 else ""
    expected = reference.read(stream, last_event_id)
    cuts = [
        [stream],
        [stream[i : i + 1] for i in range(len(stream))],
        reference.BLOCK.findall(stream),
        reference.random_cuts(draw, stream),
    ]
    vars(event_stream)["_LARGE"] = LARGE if choice & 1 else USUAL
    for chunks in cuts:
        found = reference.parse(chunks, last_event_id)
        assert found == expected, reference.difference(chunks, expected, found)


def test_one_input(data: bytes) -> None:
    if data:
        check(data[0], data[1:])


def plant() -> None:
    vars(event_stream)["_is_one_line"] = lambda text: "\n" not in text


def main() -> None:
    if "--planted" in sys.argv:
        sys.argv.remove("--planted")
        plant()
    # Short inputs have all the bugs; the command line may say otherwise.
    atheris.Setup([sys.argv[0], "-max_len=300", *sys.argv[1:]], test_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
