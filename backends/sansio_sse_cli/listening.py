"""How a server of asyncio stops listening without forgetting a client.

What asyncio has accepted at the moment in which a server is closed may be closed by nobody.
"""

import asyncio
import contextlib

__all__ = ["stop_listening"]

_TURNS = 6  # of the loop, in which asyncio hands over what it has accepted


async def stop_listening(server: asyncio.Server) -> None:
    """Accept no more, wait until all that was accepted is handed over, and close the server."""
    loop = asyncio.get_running_loop()
    for listening in server.sockets:
        with contextlib.suppress(NotImplementedError):  # on Windows
            loop.remove_reader(listening.fileno())
    for _ in range(_TURNS):
        await asyncio.sleep(0)
    server.close()
