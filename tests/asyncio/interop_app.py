"""An application of sse-starlette, served by uvicorn in a process of its own."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route


async def events(request: Request) -> Response:
    """A hundred events in runs of ten; each run goes on behind the cursor."""
    first = int(request.headers.get("last-event-id", "0")) + 1

    async def generate() -> AsyncIterator[ServerSentEvent]:
        for number in range(first, min(first + 10, 101)):
            yield ServerSentEvent(data=f"event\n{number} é", event="tick", id=str(number))
            await asyncio.sleep(0.001)
        if first + 10 > 100:
            yield ServerSentEvent(data="[DONE]")

    return EventSourceResponse(generate())


async def quiet(request: Request) -> Response:
    """Nothing but the comments by which sse-starlette pings."""

    async def generate() -> AsyncIterator[ServerSentEvent]:
        await asyncio.sleep(30)
        yield ServerSentEvent(data="late")

    # The type of `ping` is a whole number of seconds.
    return EventSourceResponse(generate(), ping=1)


async def chat(request: Request) -> Response:
    """Answer a POST by a finite stream of its words."""
    words = (await request.json())["words"]

    async def generate() -> AsyncIterator[dict[str, Any]]:
        for word in words:
            yield {"data": word}
        yield {"data": "[DONE]"}

    return EventSourceResponse(generate())


async def say(request: Request) -> Response:
    return JSONResponse({"got": await request.json()})


async def moved(request: Request) -> Response:
    return RedirectResponse("/events", 308)


async def ping(request: Request) -> Response:
    return Response(status_code=204)


app = Starlette(
    routes=[
        Route("/events", events),
        Route("/quiet", quiet),
        Route("/chat", chat, methods=["POST"]),
        Route("/say", say, methods=["POST"]),
        Route("/moved", moved),
        Route("/ping", ping),
    ]
)
