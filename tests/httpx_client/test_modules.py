"""Errors that belong to the client's module and to ours, and how that module is found."""

import pickle
import subprocess
import sys
from types import ModuleType
from typing import Any
from unittest.mock import Mock

import httpx
import httpx2
import pytest

import sansio_sse
import sansio_sse_httpx
from sansio_sse_httpx import SSEError
from sansio_sse_httpx.modules import error_for, module_of

KINDS = [
    thing
    for name in sansio_sse.__all__
    if isinstance(thing := getattr(sansio_sse, name), type)
    and issubclass(thing, sansio_sse.SSEError)
]


@pytest.fixture(params=[httpx, httpx2], ids=lambda module: module.__name__)
def library(request: pytest.FixtureRequest) -> Any:
    return request.param


def other(library: ModuleType) -> Any:
    return httpx2 if library is httpx else httpx


def made(kind: type[sansio_sse.SSEError], **options: Any) -> sansio_sse.SSEError:
    if kind is sansio_sse.HTTPStatusError:
        options = {"status": 503, "body": b"why", **options}
    return kind("what happened", **options)


# --- Whose is it? ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["Client", "AsyncClient", "Request", "Response", "ReadError", "Headers", "URL"]
)
def test_the_module_is_found_from_what_is_its(library: Any, name: str) -> None:
    kind = getattr(library, name)
    derived: Any = type("Derived", (kind,), {"__module__": "somewhere.else"})
    for cls in (kind, derived):
        assert module_of(cls.__new__(cls)) is library
        assert module_of(Mock(spec=cls)) is library  # as proxies do, it names what it stands for


def test_the_package_of_a_subclass_is_not_taken_for_httpx(
    library: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    search: Any = ModuleType("search")
    search.TransportError = type("TransportError", (Exception,), {})
    search.Client = type("Client", (library.Client,), {"__module__": "search.client"})
    monkeypatch.setitem(sys.modules, "search", search)
    assert module_of(search.Client.__new__(search.Client)) is library


def test_another_copy_of_httpx_is_not_taken_for_the_one_that_is_loaded(library: Any) -> None:
    vendored = type("Response", (), {"__module__": library.__name__})
    with pytest.raises(TypeError, match="Response is neither of httpx nor of httpx2"):
        module_of(vendored())


@pytest.mark.parametrize(
    "thing", [None, object(), "http://a/", ValueError("x")], ids="none object url error".split()
)
def test_what_is_not_of_httpx_is_refused(thing: object) -> None:
    with pytest.raises(TypeError, match="neither of httpx nor of httpx2"):
        module_of(thing)


ONLY_ITS_OWN = """
import sys
import sansio_sse_httpx
assert not {"httpx", "httpx2"} & sys.modules.keys()
import LIBRARY
def answer(request):
    return LIBRARY.Response(200, headers={"Content-Type": "text/html"})
with LIBRARY.Client(transport=LIBRARY.MockTransport(answer), trust_env=False) as client:
    with sansio_sse_httpx.connect_sse(client, "GET", "http://a/") as source:
        try:
            next(source.iter_sse())
        except LIBRARY.TransportError:
            print(*sorted({"httpx", "httpx2"} & sys.modules.keys()))
"""


def test_only_what_the_caller_imported_is_loaded(library: Any) -> None:
    source = ONLY_ITS_OWN.replace("LIBRARY", library.__name__)
    path = [entry for entry in sys.path if entry]
    code = f"import sys; sys.path[:] = {path!r}\n{source}"
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert run.stderr == ""
    assert run.stdout.split() == [library.__name__]


# --- Errors ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_is_caught_by_every_name_it_has(
    library: Any, kind: type[sansio_sse.SSEError]
) -> None:
    error = error_for(library, made(kind))
    names = (kind, SSEError, sansio_sse.SSEError, library.TransportError, library.RequestError)
    for name in names:
        with pytest.raises(name) as caught:
            raise error
        assert caught.value is error
    assert not isinstance(error, other(library).TransportError)
    assert type(error).__name__ == kind.__name__
    assert type(error).__module__ == "sansio_sse_httpx"


def test_with_httpx2_it_is_an_error_of_its_event_streams() -> None:
    assert isinstance(error_for(httpx2, made(sansio_sse.ConnectionLost)), httpx2.SSEError)


def test_something_else_called_sse_error_does_no_harm() -> None:
    module: Any = ModuleType("httpx_of_tomorrow")
    module.TransportError = httpx.TransportError
    module.SSEError = type("SSEError", (ValueError,), {})
    error = error_for(module, made(sansio_sse.IdleTimeout))
    assert isinstance(error, httpx.TransportError)
    assert not isinstance(error, ValueError)


CONTEXT: dict[str, Any] = {
    "url": "http://example.com/",
    "attempt": 2,
    "elapsed": 1.5,
    "events_received": 7,
    "request_sent": True,
    "accepted": False,
}


@pytest.mark.parametrize("kind", KINDS)
def test_everything_an_error_has_is_kept(library: Any, kind: type[sansio_sse.SSEError]) -> None:
    cause = ValueError("why")
    plain = made(kind, retryable=False) if kind is sansio_sse.SSEError else made(kind)
    plain.cause = plain.__cause__ = cause
    plain.response = sansio_sse.Response(503, (("Server", "x"),))
    plain.with_context(**CONTEXT)
    plain.add_note("a note")
    request = library.Request("GET", "http://example.com/")
    error: Any = error_for(library, plain, request)
    assert error.request is request
    assert {**vars(error), "_request": None} == {**vars(plain), "_request": None}
    assert (str(error), error.args) == (str(plain), plain.args)
    assert (error.category, error.retryable) == (plain.category, plain.retryable)
    assert error.__cause__ is cause
    assert error.__notes__ == ["a note"]


def test_an_error_without_a_cause_shows_what_it_was_raised_in(library: Any) -> None:
    error = error_for(library, made(sansio_sse.ConnectError))
    assert error.__cause__ is None
    assert not error.__suppress_context__


def test_without_a_request_it_says_so_as_the_client_does(library: Any) -> None:
    error: Any = error_for(library, made(sansio_sse.ConnectError))
    with pytest.raises(RuntimeError, match="request"):
        _ = error.request


def test_an_error_that_is_the_modules_own_stays_as_it_is(library: Any) -> None:
    error = error_for(library, made(sansio_sse.ConnectError))
    assert error_for(library, error) is error


def test_the_class_is_made_once(library: Any) -> None:
    first, second = (error_for(library, made(sansio_sse.ConnectError)) for _ in range(2))
    assert first is not second
    assert type(first) is type(second)


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_pickles_without_its_request(
    library: Any, kind: type[sansio_sse.SSEError]
) -> None:
    plain = made(kind).with_context(**CONTEXT)
    plain.cause = OSError(111, "refused")
    request = library.Request("GET", "http://example.com/", headers={"Authorization": "s3cr3t"})
    error = error_for(library, plain, request)
    data = pickle.dumps(error)
    assert b"s3cr3t" not in data
    again: Any = pickle.loads(data)
    assert (type(again), str(again)) == (type(error), "what happened")
    assert {name: getattr(again, name) for name in CONTEXT} == CONTEXT
    assert isinstance(again.__cause__, ConnectionRefusedError)
    assert getattr(again, "body", b"") == getattr(plain, "body", b"")
    with pytest.raises(RuntimeError, match="request"):
        _ = again.request


@pytest.mark.parametrize("kind", [SSEError, type("Own", (SSEError,), {})])
def test_our_own_error_and_what_derives_from_it_can_be_made_the_modules_too(
    library: Any, kind: type[SSEError]
) -> None:
    error = error_for(library, kind("no"))
    assert isinstance(error, kind)
    assert isinstance(error, library.TransportError)


def test_our_own_error_pickles() -> None:
    again = pickle.loads(pickle.dumps(SSEError("no", retryable=False)))
    assert type(again) is sansio_sse_httpx.SSEError
    assert (str(again), again.retryable) == ("no", False)
