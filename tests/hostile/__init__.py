"""Hostile servers, against the real asyncio driver: each meets a clear error, none our memory."""
