"""The contract suite: what every driver's ``Connection`` does, over real sockets and real TLS.

Each scenario is written once, as an ``async def`` test that takes ``sse``, the neutral face of a
driver (:mod:`contract.face`), and talks to scripted servers (:mod:`contract.server`). A driver
joins by one file, ``driver_<name>.py``, whose ``DRIVERS`` is a list of faces; nothing else names
it. Scenarios that need tasks take ``async_sse`` and stand in ``test_async_only.py``.
"""
