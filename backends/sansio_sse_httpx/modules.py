"""Which HTTP client somebody uses, and errors that are that client's own as well as ours.

httpx and its fork httpx2 have the same names and nothing else in common: an ``except
httpx.TransportError`` catches nothing of httpx2. Neither is imported here. The module is found from
an object that the caller passed, so whatever looks like httpx will do, and an error class is made
for it when one is needed.
"""

import sys
from functools import cache
from types import ModuleType
from typing import Any, TypeVar

import sansio_sse

__all__ = ["SSEError", "error_for", "module_of"]

E = TypeVar("E", bound=sansio_sse.SSEError)

# What makes a module httpx. A package with a TransportError of its own is not rare.
_NAMES = frozenset({"AsyncClient", "Client", "Headers", "Request", "Response", "TransportError"})


class SSEError(sansio_sse.SSEError):
    """Whatever this package raises, beside what the client itself does.

    It is an error of :mod:`sansio_sse` (a ``ContentTypeError``, for example) and a
    ``TransportError`` of the client's module, so that ``except httpx.TransportError`` catches it;
    with httpx2 it is an ``httpx2.SSEError``, too.

    It pickles, without the request, which may hold credentials.
    """

    request: Any
    """The client's request, as every ``TransportError`` has it; RuntimeError if there is none."""


def module_of(obj: object) -> ModuleType:
    """Return the module, httpx or one like it, that a client, a response or a request belongs to.

    Subclasses belong to the module of what they derive from. Raises TypeError if there is none.

    >>> import httpx
    >>> module_of(httpx.Request("GET", "http://a/")) is httpx
    True
    """
    # Not type(obj): proxies and mocks name the class that they stand for.
    for kind in obj.__class__.__mro__:
        module = sys.modules.get(kind.__module__.partition(".")[0])
        # Another copy of httpx, inside some package, names the one outside as its home.
        if module and vars(module).get(kind.__name__) is kind and vars(module).keys() >= _NAMES:
            return module
    raise TypeError(f"{type(obj).__qualname__} is neither of httpx nor of httpx2")


def error_for(module: ModuleType, error: E, request: Any = None) -> E:
    """Return an error as it is, except that it also is the module's own and an :class:`SSEError`.

    It is an instance of the error's type and of ``module.TransportError``; it has the message, the
    context, the cause and all attributes of the error. ``request`` is the client's request.

    >>> import httpx
    >>> error = error_for(httpx, sansio_sse.IdleTimeout("silent"))
    >>> error, isinstance(error, httpx.TransportError), isinstance(error, SSEError)
    (IdleTimeout('silent'), True, True)
    """
    foreign = _foreign_error(module)
    return error if isinstance(error, foreign) else _made(error, foreign, request)


def _foreign_error(module: ModuleType) -> Any:
    """Return the module's error for event streams, or else for anything on the way."""
    general: type = module.TransportError
    special = getattr(module, "SSEError", None)
    if isinstance(special, type) and issubclass(special, general):
        return special
    return general


@cache
def _class_for(kind: Any, foreign: Any) -> Any:
    own = () if issubclass(kind, SSEError) else (SSEError,)
    # Our own base class would stand before what derives from it.
    first = () if kind is sansio_sse.SSEError else (kind,)

    def reduce(error: sansio_sse.SSEError) -> tuple[Any, ...]:
        return _made, (_plain(error, kind), foreign)

    names = {"__doc__": kind.__doc__, "__module__": "sansio_sse_httpx", "__reduce__": reduce}
    return type(kind.__name__, (*first, *own, foreign), names)


def _made(error: E, foreign: Any, request: Any = None) -> E:
    kind: Any = type(error)
    cls = _class_for(kind, foreign)
    made: E = cls.__new__(cls)
    foreign.__init__(made, error.message, request=request)
    made.__dict__.update(error.__dict__)
    made.__cause__ = error.__cause__
    made.__suppress_context__ = error.__suppress_context__
    return made


def _plain(error: E, kind: type[E]) -> E:
    """Return an error as it was before :func:`error_for`: what this finds, pickle finds."""
    plain = kind.__new__(kind, *error.args)
    plain.__dict__.update(error.__dict__)
    del plain.__dict__["_request"]
    return plain
