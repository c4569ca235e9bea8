"""The ways to a server: TLS and Unix sockets."""

import ssl
from pathlib import Path

import pytest
import trustme

from sansio_sse_cli import main

from .support import HEAD, serving

BODY = HEAD + b"data: x\n\n"


def test_a_unix_socket(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "socket")
    with serving(BODY, path=path) as server:
        assert main(["tail", "http://localhost/events", "--unix-socket", path, "--raw"]) == 0
        assert server.requests[0].startswith(b"GET /events HTTP/1.1\r\n")
    assert capfd.readouterr().out == "x\n"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


def test_a_certificate_that_does_not_verify_fails(
    tls: ssl.SSLContext, capfd: pytest.CaptureFixture[str]
) -> None:
    with serving(BODY, tls=tls) as server:
        assert main(["tail", f"https://{server.address}/"]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert "error        the certificate does not verify for 127.0.0.1:" in err


def test_cacert(
    authority: trustme.CA,
    tls: ssl.SSLContext,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(file)
    with serving(BODY, tls=tls) as server:
        url = f"https://{server.address}/"
        assert main(["tail", url, "--cacert", str(file), "--raw", "-n1"]) == 0
    assert capfd.readouterr().out == "x\n"


def test_insecure(tls: ssl.SSLContext, capfd: pytest.CaptureFixture[str]) -> None:
    with serving(BODY, tls=tls) as server:
        assert main(["tail", "-k", f"https://{server.address}/", "--raw", "-n1"]) == 0
    assert capfd.readouterr().out == "x\n"
