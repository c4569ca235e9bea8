"""Configuration from mappings, TOML files and the environment, into the core's own dataclasses.

What comes out is what code would have made: a ``ConnectionConfig``, a ``PoolConfig`` or one of
their parts. What may stand in them is decided there; here is how it is written down, and where a
mistake is. All mistakes are reported at once, in one ``ConfigError``.
"""

from .environment import from_env
from .sources import from_mapping, from_toml

__all__ = ["from_env", "from_mapping", "from_toml"]
