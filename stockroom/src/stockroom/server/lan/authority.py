"""A shop's own certificate authority, and the certificate of its server: made here, renewed here.

Knows: keys, certificates, and the folder in which they lie. Must not know: HTTP, or sockets.
The authority can vouch for names and addresses of private networks only (name constraints): who
steals its key cannot pass for a bank. A browser that would not know them refuses the certificate,
as they are critical. Keys can be read by their owner alone, and each pair is one file, which is
replaced whole.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import secrets
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from holdfast.core.errors import UsageError
from stockroom.server.lan.addresses import LOCALHOST

AUTHORITY_DAYS: Final = 3650
SERVER_DAYS: Final = 397
"""Apple's systems take a server's certificate for 398 days at most."""
RENEW_DAYS: Final = 45
"""Before its end: time for devices that were away, and for somebody to look."""
EARLY_DAYS: Final = 2
"""So long before it was made a certificate is good already: devices' clocks differ."""
DOMAINS: Final = (LOCALHOST, "local", "lan", "home", "internal", "home.arpa")
"""Names that only private networks give; beside them, the machine's own."""
NETWORKS: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16"),
        *("127.0.0.0/8", "198.18.0.0/15", "::1/128", "fc00::/7", "fe80::/10"),
        *("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32"),
    )
)
_AUTHORITY: Final = "authority.pem"
_SERVER: Final = "server.pem"
_PUBLIC: Final = "stockroom-authority.crt"
_SECRET_MODE: Final = 0o600


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def pem(self, *chain: x509.Certificate) -> bytes:
        """Key and certificates in one text: they can never be of two issues."""
        key = self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return key + b"".join(pem_of(one) for one in (self.certificate, *chain))


def pem_of(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def fingerprint_of(certificate: x509.Certificate) -> str:
    """The mark that a person compares, in pairs of letters and digits."""
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def _now() -> datetime:
    return datetime.now(UTC)


class Authority:
    """The authority of a shop, kept in a folder. One for a process; for several threads.

    ``machine``: by which it calls itself, and whose names it may vouch for besides ``DOMAINS``.
    Raises ``UsageError`` (``tls_folder``, ``tls_clock``).
    """

    def __init__(
        self, folder: Path, machine: Iterable[str], *, now: Callable[[], datetime] = _now
    ) -> None:
        self._folder = folder
        self._machine = tuple(machine)
        self._now = now
        self._lock = threading.Lock()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._pair = self._kept() or self._make()
            _write(self.public_file, pem_of(self.certificate), mode=0o644)
        except OSError as error:
            raise UsageError(
                f"cannot keep the shop's certificates in {folder}: {error.strerror}; name another "
                "folder (--tls-dir)",
                code="tls_folder",
            ) from None

    @property
    def certificate(self) -> x509.Certificate:
        return self._pair.certificate

    @property
    def public_file(self) -> Path:
        """The authority's certificate, for devices that are to trust it."""
        return self._folder / _PUBLIC

    @property
    def server_file(self) -> Path:
        """The server's key and certificate, with the authority's."""
        return self._folder / _SERVER

    def vouches_for(self, name: str) -> bool:
        """Return whether it may: of others' names no device would believe it."""
        found = self.certificate.extensions.get_extension_for_class(x509.NameConstraints).value
        permitted = found.permitted_subtrees or []
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            domains = [one.value for one in permitted if isinstance(one, x509.DNSName)]
            return any(name == domain or name.endswith(f".{domain}") for domain in domains)
        networks = [one.value for one in permitted if isinstance(one, x509.IPAddress)]
        return any(
            address in network
            for network in networks
            if isinstance(network, ipaddress.IPv4Network | ipaddress.IPv6Network)
        )

    def renew(self, names: Iterable[str]) -> bool:
        """See to a certificate of the server for these names. True if there is a new one."""
        with self._lock:
            wanted = [name for name in names if self.vouches_for(name)]
            if not self._is_due(wanted):
                return False
            made = self._issue(wanted)
            _write(self.server_file, made.pem(self.certificate))
            return True

    def _is_due(self, wanted: list[str]) -> bool:
        now = self._now()
        try:
            pair = _read(self.server_file)
            issued = pair.certificate
            issued.verify_directly_issued_by(self.certificate)
            names = issued.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (OSError, ValueError, TypeError, x509.ExtensionNotFound, _Unfit):
            return True
        except Exception as error:  # a signature that is not the authority's
            if type(error).__name__ != "InvalidSignature":
                raise
            return True
        has = {*names.get_values_for_type(x509.DNSName)}
        has |= {str(one) for one in names.get_values_for_type(x509.IPAddress)}
        ends = issued.not_valid_after_utc
        if ends < self.certificate.not_valid_after_utc:  # a new one would last longer
            ends -= timedelta(days=RENEW_DAYS)
        return has != set(wanted) or now >= ends or now < issued.not_valid_before_utc

    def _kept(self) -> Pair | None:
        """The one that is there, while it is good for a new certificate."""
        path = self._folder / _AUTHORITY
        if not path.exists():
            return None
        try:
            pair = _read(path)
        except (ValueError, _Unfit):
            raise UsageError(
                f"{path} is not what was written there; put it back from a copy, or remove it: "
                "then each device has to trust a new authority",
                code="tls_folder",
            ) from None
        now, made = self._now(), pair.certificate
        if now < made.not_valid_before_utc:
            raise UsageError(
                f"this machine's clock says {now:%Y-%m-%d}, and the shop's certificates begin on "
                f"{made.not_valid_before_utc:%Y-%m-%d}: set the clock",
                code="tls_clock",
            )
        ends = made.not_valid_after_utc - timedelta(days=RENEW_DAYS)
        return pair if now < ends else None

    def _make(self) -> Pair:
        now, key = self._now(), ec.generate_private_key(ec.SECP256R1())
        called = self._machine[0] if self._machine else "shop"
        mark = secrets.token_hex(3).upper()  # two of them are told apart in a list
        name = _named(f"Stockroom authority of {called} ({mark})"[:64])
        domains = dict.fromkeys((*DOMAINS, *(one for one in self._machine if not _is_number(one))))
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=EARLY_DAYS))
            .not_valid_after(now + timedelta(days=AUTHORITY_DAYS))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(
                x509.NameConstraints(
                    [*map(x509.DNSName, domains), *map(x509.IPAddress, NETWORKS)], None
                ),
                critical=True,
            )
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .sign(key, hashes.SHA256())
        )
        path = self._folder / _AUTHORITY
        old = path.exists()  # at its end: there is nothing to be lost
        if not _write(path, Pair(made, key).pem(), instead=old):
            return _read(path)  # another process was quicker
        return Pair(made, key)

    def _issue(self, names: list[str]) -> Pair:
        now, key = self._now(), ec.generate_private_key(ec.SECP256R1())
        authority = self._pair
        begins = max(now - timedelta(days=EARLY_DAYS), authority.certificate.not_valid_before_utc)
        ends = min(begins + timedelta(days=SERVER_DAYS), authority.certificate.not_valid_after_utc)
        identifier = authority.certificate.extensions.get_extension_for_class(
            x509.SubjectKeyIdentifier
        ).value
        subjects: list[x509.GeneralName] = [
            x509.IPAddress(ipaddress.ip_address(one)) if _is_number(one) else x509.DNSName(one)
            for one in names
        ]
        made = (
            x509.CertificateBuilder()
            .subject_name(_named("Stockroom server"))
            .issuer_name(authority.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(ends)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName(subjects), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
                critical=False,
            )
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .sign(authority.key, hashes.SHA256())
        )
        return Pair(made, key)


class _Unfit(Exception):
    """A key of another kind, or of another certificate."""


def _read(path: Path) -> Pair:
    """Raises ``OSError``, ``ValueError``, ``_Unfit``."""
    text = path.read_bytes()
    key = serialization.load_pem_private_key(text, None)
    certificate = x509.load_pem_x509_certificates(text)[0]
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise _Unfit
    if key.public_key() != certificate.public_key():
        raise _Unfit
    return Pair(certificate, key)


def _write(path: Path, text: bytes, *, mode: int = _SECRET_MODE, instead: bool = True) -> bool:
    """Write a file whole. ``instead``: of one that is there; else that one stays, and False."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if instead:
            beside.replace(path)
        else:
            os.link(beside, path)
    except FileExistsError:
        return False
    finally:
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()
    return True


def _named(text: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Stockroom"),
            x509.NameAttribute(NameOID.COMMON_NAME, text),
        ]
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
