"""Hostile servers, against the real asyncio driver: each gets a clear error, and none gets our memory."""
