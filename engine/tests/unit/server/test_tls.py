"""TLS: certificates are checked in words and renewed while serving; one port tells it from HTTP."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import json
import logging
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from engine.tests.unit.server.served import port_of, served

from holdfast.core.errors import Offline, ReplicaError, UsageError
from holdfast.replica.http.transport import HttpTransport
from holdfast.replica.identity.authority import trust, trusting
from holdfast.server.http.front import FrontOptions
from holdfast.server.run import Tls
from holdfast.server.tls import listener
from holdfast.server.tls.certificates import CertificateFiles, Certificates, looked

NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)
ASK = b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def write(
    folder: Path,
    *,
    name: str = "shop.lan",
    begins: dt.datetime = NOW - DAY,
    ends: dt.datetime = NOW + DAY,
    password: bytes = b"",
) -> tuple[Path, Path]:
    """A certificate of its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    called = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    names = x509.SubjectAlternativeName(
        [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    )
    made = (
        x509.CertificateBuilder()
        .subject_name(called)
        .issuer_name(called)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    lock = (
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption()
    )
    files = folder / "tls.crt", folder / "tls.key"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)
    )
    return files


def refused(certificate: Path, key: Path, *names: str) -> tuple[str, str]:
    with pytest.raises(UsageError) as caught:
        CertificateFiles(certificate, key, names=names)
    return caught.value.code, caught.value.message


def test_what_is_wrong_with_a_certificate_is_said_in_words(tmp_path: Path) -> None:
    certificate, key = write(tmp_path)
    CertificateFiles(certificate, key, names=("shop.lan", "SHOP.lan", "127.0.0.1"))
    code, said = refused(certificate, key, "till.lan")
    assert code == "tls_wrong_name" and "not for till.lan but for shop.lan" in said
    other = tmp_path / "other"
    other.mkdir()
    code, said = refused(certificate, write(other)[1])
    assert code == "tls_key_does_not_fit" and "does not fit" in said
    assert refused(*write(other, password=b"secret"))[0] == "tls_unreadable"
    code, said = refused(*write(other, ends=NOW - dt.timedelta(hours=1)))
    assert code == "tls_expired" and "expired on" in said
    code, said = refused(*write(other, begins=NOW + DAY / 2))
    assert code == "tls_expired" and "set the clock" in said
    code, said = refused(key, key)
    assert code == "tls_unreadable" and "--tls-key" in said
    assert refused(certificate, certificate)[0] == "tls_unreadable"
    assert refused(tmp_path / "none.crt", key)[0] == "tls_unreadable"


def test_a_name_of_one_star_is_one_name_deep(tmp_path: Path) -> None:
    files = write(tmp_path, name="*.shop.lan")
    CertificateFiles(*files, names=("till.shop.lan",))
    for name in ("shop.lan", "a.till.shop.lan"):
        assert refused(*files, name)[0] == "tls_wrong_name"


def test_new_files_are_taken_and_half_a_pair_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    certificate, key = write(tmp_path)
    files = CertificateFiles(certificate, key)
    first = files.context()
    looked(files)
    assert files.context() is first
    new = tmp_path / "new"
    new.mkdir()
    new_certificate, new_key = write(new)
    new_certificate.replace(certificate)
    with caplog.at_level(logging.WARNING, "holdfast.server.tls"):
        looked(files)
    assert [one.message for one in caplog.records] == ["certificate_not_taken"]
    assert files.context() is first
    new_key.replace(key)
    looked(files)
    assert files.context() is not first


@contextlib.contextmanager
def encrypted(
    folder: Path, certificates: Certificates, *, front: FrontOptions | None = None
) -> Iterator[int]:
    with served(folder, host="", tls=Tls(certificates=certificates), front=front) as url:
        assert url.startswith("https://localhost:")
        yield port_of(url)


def told(connection: socket.socket) -> bytes:
    found = b""
    with contextlib.suppress(ConnectionError):
        while piece := connection.recv(65536):
            found += piece
    return found


def asked(port: int, trusted: Path, *, host: str = "127.0.0.1", name: str = "shop.lan") -> bytes:
    context = ssl.create_default_context(cafile=trusted)
    with (
        socket.create_connection((host, port), timeout=60) as plain,
        context.wrap_socket(plain, server_hostname=name) as secured,
    ):
        secured.sendall(ASK)
        return told(secured)


def test_one_port_speaks_tls_and_refuses_the_rest_in_words(tmp_path: Path) -> None:
    certificate, key = write(tmp_path)
    with encrypted(tmp_path, CertificateFiles(certificate, key)) as port:
        answer = asked(port, certificate)
        assert answer.startswith(b"HTTP/1.1 200") and b"strict-transport-security" in answer
        if socket.has_ipv6 and Path("/proc/net/if_inet6").exists():
            assert asked(port, certificate, host="::1").startswith(b"HTTP/1.1 200")
        with socket.create_connection(("127.0.0.1", port), timeout=60) as plain:
            plain.sendall(ASK)
            refusal = told(plain)
        assert refusal.startswith(b"HTTP/1.1 403")
        body = json.loads(refusal.partition(b"\r\n\r\n")[2])
        assert body["error"]["code"] == "https_needed" and "https://" in body["error"]["message"]
        # Who believes nothing of it leaves; the server goes on.
        with pytest.raises(ssl.SSLCertVerificationError):
            asked(port, certificate, name="other.lan")
        assert asked(port, certificate).startswith(b"HTTP/1.1 200")


def test_a_device_says_what_it_does_not_trust_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = write(tmp_path)
    with encrypted(tmp_path, CertificateFiles(certificate, key)) as port:
        for name, why in (("127.0.0.1", "self-signed"), ("localhost", "")):
            device = HttpTransport(f"https://{name}:{port}", str)
            with pytest.raises(Offline, match="SSL_CERT_FILE") as caught:
                device.health("0123456789abcdef")
            assert caught.value.code == "tls_untrusted" and why in caught.value.message
            device.close()
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        device = HttpTransport(f"https://127.0.0.1:{port}", str)
        assert device.health("0123456789abcdef")[0] > 0
        device.close()


def test_an_authority_is_named_once_and_trusted_by_that_replica_only(tmp_path: Path) -> None:
    certificate, key = write(tmp_path)
    der = tmp_path / "authority.cer"
    der.write_bytes(ssl.PEM_cert_to_DER_cert(certificate.read_text()))
    replica, other = tmp_path / "till.db", tmp_path / "other.db"
    with encrypted(tmp_path, CertificateFiles(certificate, key)) as port:
        for given in (certificate, der):
            trust(replica, given)
            device = HttpTransport(
                f"https://127.0.0.1:{port}", str, ssl_context=trusting(str(replica))
            )
            assert device.health("0123456789abcdef")[0] > 0
            device.close()
    der.unlink()
    assert trusting(replica) is not None  # it was copied
    assert trusting(other) is None
    for wrong in (key, tmp_path / "missing.crt", tmp_path):
        with pytest.raises(ReplicaError) as caught:
            trust(other, wrong)
        assert caught.value.code == "bad_authority"
    assert trusting(other) is None
    (tmp_path / "till.db-authority").write_text("torn")
    with pytest.raises(ReplicaError, match="--ca"):
        trusting(replica)


def test_a_proxy_of_ours_may_come_in_the_clear(tmp_path: Path) -> None:
    certificate, key = write(tmp_path)
    front = FrontOptions(proxies=("127.0.0.1",))
    with (
        encrypted(tmp_path, CertificateFiles(certificate, key), front=front) as port,
        socket.create_connection(("127.0.0.1", port), timeout=60) as plain,
    ):
        plain.sendall(ASK)
        assert told(plain).startswith(b"HTTP/1.1 200")


def test_a_renewed_certificate_is_shown_while_serving(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "CERTIFICATE_LOOK_MS", 10)
    certificate, key = write(tmp_path)
    new = tmp_path / "new"
    new.mkdir()
    with encrypted(tmp_path, CertificateFiles(certificate, key)) as port:
        new_certificate, new_key = write(new)
        trusted = tmp_path / "trusted.crt"
        trusted.write_bytes(new_certificate.read_bytes())
        with pytest.raises(ssl.SSLCertVerificationError):
            asked(port, trusted)
        new_key.replace(key)
        new_certificate.replace(certificate)
        for _ in range(1000):
            with contextlib.suppress(ssl.SSLCertVerificationError):
                assert asked(port, trusted).startswith(b"HTTP/1.1 200")
                break
        else:
            raise AssertionError("the new certificate never came")


def test_who_says_nothing_makes_room_and_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "TLS_WAITING_MAX", 3)
    certificate, key = write(tmp_path)
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(encrypted(tmp_path, CertificateFiles(certificate, key)))
        silent = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
            for _ in range(4)
        ]
        assert asked(port, certificate).startswith(b"HTTP/1.1 200")
        assert silent[0].recv(1) == b""  # the one that has waited for longest
    monkeypatch.setattr(listener, "TLS_FIRST_BYTE_MS", 50)
    with (
        encrypted(tmp_path, CertificateFiles(certificate, key)) as port,
        socket.create_connection(("127.0.0.1", port), timeout=60) as mute,
    ):
        assert mute.recv(1) == b""
