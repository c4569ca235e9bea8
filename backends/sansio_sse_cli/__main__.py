"""``python -m sansio_sse_cli``: the same as ``sansio-sse``."""

import sys

from . import main

sys.exit(main())
