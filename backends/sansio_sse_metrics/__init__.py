"""Metrics of connections, pools and stream sets, for the systems that operators look at.

``sansio_sse_metrics.prometheus`` has a collector for prometheus_client,
``sansio_sse_metrics.opentelemetry`` instruments a meter. Importing this package imports neither
library. What is exported, under which names, stands in one table, :data:`INSTRUMENTS`.
"""

from .instruments import INSTRUMENTS, Instrument, Kind, Scope

__all__ = ["INSTRUMENTS", "Instrument", "Kind", "Scope"]
