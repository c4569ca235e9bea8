"""What a hostile peer may cost."""

import tracemalloc
from collections.abc import Generator
from contextlib import contextmanager

MIB = 1024 * 1024


@contextmanager
def bounded(limit: int) -> Generator[None]:
    """Fail if more memory is taken at any time than twice the limit and 16 MiB."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        yield
        taken = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert taken <= 2 * limit + 16 * MIB, f"{taken / MIB:.1f} MiB for a limit of {limit} bytes"
