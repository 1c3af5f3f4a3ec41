"""A server's certificate and key: read from files, checked in words, read again when they change.

Knows: certificates, keys, files. Must not know: sockets, or who makes and renews the files.
What is wrong at the start ends it with what to do; what becomes wrong later is logged, and the last
good certificate stays.
"""

from __future__ import annotations

import ipaddress
import logging
import ssl
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from holdfast.core.errors import HoldfastError, UsageError
from holdfast.extras import extra_missing

if TYPE_CHECKING:
    from cryptography import x509

log = logging.getLogger("holdfast.server.tls")

_Stamp: TypeAlias = tuple[tuple[int, int, int], ...]


class Certificates(Protocol):
    """Certificates: what a listener shows to those who connect now."""

    def context(self) -> ssl.SSLContext:
        """The one for the next connection. Cheap, and never an error."""
        ...

    def look(self) -> None:
        """Look whether there is a newer one. Called now and then, in a thread of its own. Raises
        ``HoldfastError`` for what keeps a newer one from being taken."""
        ...


def _now() -> datetime:
    return datetime.now(UTC)


class CertificateFiles:
    """A certificate with its chain, and its key, as PEM files that somebody else renews.

    ``names``: what people call the server, where that is known. Raises ``UsageError``
    (``tls_unreadable``, ``tls_key_does_not_fit``, ``tls_expired``, ``tls_wrong_name``,
    ``extra_missing``).
    """

    def __init__(
        self,
        certificate: Path,
        key: Path,
        *,
        names: Sequence[str] = (),
        now: Callable[[], datetime] = _now,
    ) -> None:
        self._certificate = certificate
        self._key = key
        self._names = tuple(names)
        self._now = now
        self._stamp = self._looks()
        self._context = self._read()

    def context(self) -> ssl.SSLContext:
        return self._context

    def look(self) -> None:
        stamp = self._looks()
        if stamp == self._stamp:
            return
        # Before the stamp: half of a pair that is being replaced is looked at again.
        self._context = self._read()
        self._stamp = stamp
        log.info("certificate_renewed", extra={"file": str(self._certificate)})

    def _looks(self) -> _Stamp:
        try:
            found = [path.stat() for path in (self._certificate, self._key)]
        except OSError as error:
            raise _unreadable(error) from None
        return tuple((one.st_ino, one.st_size, one.st_mtime_ns) for one in found)

    def _read(self) -> ssl.SSLContext:
        leaf = read_certificate(self._certificate)
        now = self._now()
        if now >= leaf.not_valid_after_utc:
            raise UsageError(
                f"the certificate {self._certificate} expired on "
                f"{leaf.not_valid_after_utc:%Y-%m-%d}: have it renewed, and start again",
                code="tls_expired",
            )
        if now < leaf.not_valid_before_utc:
            raise UsageError(
                f"the certificate {self._certificate} is valid from "
                f"{leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on, and here it is "
                f"{now:%Y-%m-%d %H:%M}: set the clock, or take another certificate",
                code="tls_expired",
            )
        for name in self._names:
            if not covers(leaf, name):
                raise UsageError(
                    f"the certificate {self._certificate} is not for {name} but for "
                    f"{', '.join(names_of(leaf)) or 'no name at all'}: take one for {name}, or "
                    "name the server as it says (--public-url, --allowed-host)",
                    code="tls_wrong_name",
                )
        return loaded(self._certificate, self._key)


def read_certificate(path: Path) -> x509.Certificate:
    """Return the first certificate of a PEM file. Raises ``UsageError``."""
    try:
        from cryptography import x509
    except ImportError as error:
        raise extra_missing(error) or error from None
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())[0]
    except OSError as error:
        raise _unreadable(error) from None
    except ValueError:
        raise UsageError(
            f"{path} is not a certificate as a PEM file (-----BEGIN CERTIFICATE-----); "
            "of a pair of files, the key belongs to --tls-key",
            code="tls_unreadable",
        ) from None


def loaded(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return a server's context with this pair. Raises ``UsageError``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except _Locked:
        raise UsageError(
            f"the key {key} is locked by a password: save it without one, readable by the server's "
            "own account only",
            code="tls_unreadable",
        ) from None
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise UsageError(
                f"the key {key} does not fit the certificate {certificate}: "
                "take both from the same issue",
                code="tls_key_does_not_fit",
            ) from None
        raise UsageError(
            f"{key} is not a private key as a PEM file (-----BEGIN PRIVATE KEY-----), or "
            f"{certificate} has no whole chain: {error.reason or error}",
            code="tls_unreadable",
        ) from None
    except OSError as error:
        raise _unreadable(error) from None
    return context


class _Locked(Exception):
    pass


def _no_password() -> str:
    raise _Locked


def names_of(leaf: x509.Certificate) -> tuple[str, ...]:
    """Return the names and addresses that a certificate is for."""
    from cryptography import x509

    try:
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    addresses = [str(one) for one in found.get_values_for_type(x509.IPAddress)]
    return (*found.get_values_for_type(x509.DNSName), *addresses)


def covers(leaf: x509.Certificate, name: str) -> bool:
    """Return whether a certificate is for a name, or an address."""
    wanted = name.strip("[]").lower().removesuffix(".")
    try:
        wanted = str(ipaddress.ip_address(wanted))
    except ValueError:
        pass
    else:
        return wanted in names_of(leaf)
    parent = wanted.partition(".")[2]
    return any(
        one.lower() == wanted or (one.startswith("*.") and one[2:].lower() == parent)
        for one in names_of(leaf)
    )


def looked(certificates: Certificates) -> None:
    """Look once; what is wrong with a newer certificate is logged, and the old one stays."""
    try:
        certificates.look()
    except HoldfastError as error:
        log.warning("certificate_not_taken", extra={"code": error.code, "why": error.message})
    except Exception:  # a server goes on without a newer certificate
        log.exception("certificate_not_taken")


def _unreadable(error: OSError) -> UsageError:
    return UsageError(
        f"cannot read {error.filename}: {error.strerror}; it has to be there, and readable by the "
        "account that runs the server",
        code="tls_unreadable",
    )
