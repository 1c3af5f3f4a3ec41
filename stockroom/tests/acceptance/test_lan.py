"""`stockroom serve --lan`: https by every name of the machine, and a guide to trust."""

from __future__ import annotations

import re
import socket
import ssl
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
from cryptography import x509

from holdfast.testing import ServerProcess
from stockroom.server.lan.addresses import this_machine
from tests.acceptance.conftest import Run
from tests.acceptance.test_serve import INDEX, serving, told

pytestmark = pytest.mark.acceptance


def authority_of(folder: Path) -> Path:
    (where,) = re.findall(r"certificate authority: (\S+)", told(folder))
    return Path(where)


def asked(server: ServerProcess, name: str, trusted: Path, path: str = "/") -> bytes:
    """What it answers by a name, which is found on this machine whatever it is."""
    port = urlsplit(server.url).port
    context = ssl.create_default_context(cafile=trusted)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    shown = f"[{name}]" if ":" in name else name
    to = name if name == "::1" else "127.0.0.1"
    with (
        socket.create_connection((to, port), timeout=60) as plain,
        context.wrap_socket(plain, server_hostname=name) as secured,
    ):
        head = f"GET {path} HTTP/1.1\r\nHost: {shown}:{port}\r\nConnection: close\r\n\r\n"
        secured.sendall(head.encode())
        answer = b""
        while piece := secured.recv(65536):
            answer += piece
    return answer


def test_it_answers_https_by_every_name_of_the_machine(tmp_path: Path) -> None:
    with serving(tmp_path, "--lan", "--allowed-host", "shop.lan") as server:
        authority = authority_of(tmp_path)
        said = re.findall(r"^ready https://(\S+?):\d+$", told(tmp_path), re.MULTILINE)
        machine = this_machine()
        names = {one.strip("[]") for one in said}
        assert {*machine.names, *machine.addresses, "localhost", "shop.lan"} == names
        for name in (*names, "127.0.0.1"):
            answer = asked(server, name, authority)
            assert answer.startswith(b"HTTP/1.1 200") and INDEX.encode() in answer, name
            # Other programs of this machine have the same names, and may know no TLS.
            assert b"strict-transport-security" not in answer
        assert server.terminate() == 0
        # The same authority at the next start: nobody has to trust it anew.
        before = authority.read_bytes()
        server.start()
        assert authority.read_bytes() == before
        assert asked(server, "localhost", authority, "/v1/health").startswith(b"HTTP/1.1 200")


def test_in_the_clear_it_shows_its_guide_and_this_machine_the_app(tmp_path: Path) -> None:
    with serving(tmp_path, "--lan", "--tls-dir", str(tmp_path / "tls")) as server:
        authority = authority_of(tmp_path)
        assert authority.parent == tmp_path / "tls"
        port = urlsplit(server.url).port
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as browser:

            def get(path: str, host: str = "192.0.2.77") -> httpx2.Response:
                return browser.get(path, headers={"host": f"{host}:{port}"})

            for host in ("192.0.2.77", "whatever.example"):
                page = get("/stock", host)
                assert page.status_code == 200 and "Use the safe address" in page.text
                assert page.headers["content-type"].startswith("text/html")
                assert "form-action 'none'" in page.headers["content-security-policy"]
            given = get("/trust/stockroom-authority.crt")
            assert given.headers["content-type"] == "application/x-x509-ca-cert"
            kept = x509.load_pem_x509_certificate(authority.read_bytes())
            assert x509.load_der_x509_certificate(given.content) == kept
            assert get("/trust/qr.svg").headers["content-type"].startswith("image/svg+xml")
            for word in ("guide.js", "guide.css", "stockroom.mobileconfig"):
                assert get(f"/trust/{word}").status_code == 200
            assert get("/trust/server.pem").status_code == 404
            # A password is never taken in the clear.
            refused = browser.post(
                "/v1/enrol", json={"protocol": 1}, headers={"host": f"192.0.2.77:{port}"}
            )
            assert refused.status_code == 403
            assert refused.json()["error"]["code"] == "https_needed"
            # This very machine needs no TLS to itself, and no trust to begin with.
            assert get("/", "localhost").text == INDEX
            assert get("/v1/health", "localhost").status_code == 200
        (link,) = re.findall(r"(http\S+)/#/enrol/", told(tmp_path))
        assert link == f"http://localhost:{port}"


def test_somebody_elses_certificate_is_served_and_faults_are_said(tmp_path: Path, run: Run) -> None:
    with serving(tmp_path, "--lan") as server:
        whole = (tmp_path / "stockroom-tls" / "server.pem").read_text()
        authority = authority_of(tmp_path)
        assert server.terminate() == 0
    files = tmp_path / "tls.crt", tmp_path / "tls.key"
    key, begin, rest = whole.partition("-----BEGIN CERTIFICATE-----")
    files[0].write_text(begin + rest)
    files[1].write_text(key)
    given = ("--tls-cert", str(files[0]), "--tls-key", str(files[1]))
    with serving(tmp_path, *given) as server:
        assert server.url.startswith("https://127.0.0.1:")
        answer = asked(server, "localhost", authority)
        assert answer.startswith(b"HTTP/1.1 200") and b"strict-transport-security" in answer
        assert server.terminate() == 0
    for wrong, word in (
        ((*given, "--public-url", "https://shop.example.com"), "not for shop.example.com but for"),
        (("--lan", "--tls-dir", str(files[0])), "name another folder"),
    ):
        ran = run("serve", "--database", tmp_path / "shop.db", "--port", "0", *wrong)
        assert (ran.code, word in ran.err, "Traceback" in ran.err) == (2, True, False), ran.err


def test_without_tls_it_says_that_no_phone_can_sign_in(tmp_path: Path) -> None:
    with serving(tmp_path, "--host", "0.0.0.0") as server:
        said = server.log_path.read_text()
        assert "No phone can sign in at http://" in said and "--lan" in said
