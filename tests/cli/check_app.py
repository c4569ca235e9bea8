"""An application of sse-starlette, to be served by uvicorn in a process of its own."""

import asyncio
from collections.abc import AsyncIterator

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route


async def events(request: Request) -> Response:
    """Numbered events, which go on after Last-Event-ID."""
    first = int(request.headers.get("last-event-id", "0")) + 1

    async def generate() -> AsyncIterator[ServerSentEvent]:
        for number in range(first, first + 1000):
            yield ServerSentEvent(data=f"event {number} é", id=str(number), retry=3000)
            await asyncio.sleep(0.1)

    return EventSourceResponse(generate(), ping=1, sep="\n")


async def moved(request: Request) -> Response:
    return RedirectResponse("/events", 307)


app = Starlette(routes=[Route("/events", events), Route("/moved", moved)])
