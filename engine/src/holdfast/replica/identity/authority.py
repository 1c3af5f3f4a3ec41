"""Authority that a replica trusts besides the system's: of a server that nobody else vouches for.

Knows: one certificate beside the replica. Must not know: HTTP. It is copied there once, so that
every later exchange trusts it, wherever the file it came from has gone.
"""

from __future__ import annotations

import os
import secrets
import ssl
from pathlib import Path
from typing import Final

import httpx2

from holdfast.core.errors import ReplicaError
from holdfast.core.limits import CERTIFICATE_BYTES_MAX
from holdfast.sqlite.locks import sync_folder

SUFFIX: Final = "-authority"


def trust(replica: str | Path, certificate: str | Path) -> None:
    """Trust what the holder of a certificate (PEM or DER) signs, from now on, for this replica.

    Raises ``ReplicaError`` (``bad_authority``).
    """
    try:
        with Path(certificate).open("rb") as file:
            given = file.read(CERTIFICATE_BYTES_MAX)
        text = _as_pem(given)
        ssl.create_default_context(cadata=text)
        kept = _beside(replica)
        new = kept.with_name(f"{kept.name}.{secrets.token_hex(4)}")
        with new.open("w", encoding="ascii") as file_:
            file_.write(text)
            file_.flush()
            os.fsync(file_.fileno())
        new.replace(kept)
        sync_folder(kept.parent)
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        raise ReplicaError(
            f"{certificate} cannot be taken as the certificate of an authority ({error}). Give the "
            "file that the server names when it starts, or that its page /trust/ hands out",
            code="bad_authority",
        ) from None


def trusting(replica: str | Path) -> ssl.SSLContext | None:
    """Return what the system trusts and this replica's authority; None where it has none."""
    kept = _beside(replica)
    if not kept.is_file():
        return None
    context = httpx2.create_ssl_context(trust_env=True)
    try:
        context.load_verify_locations(cafile=kept)
    except OSError as error:
        raise ReplicaError(
            f"{kept} cannot be read ({error}). Give the authority's certificate again (--ca), or "
            "remove the file",
            code="bad_authority",
        ) from None
    return context


def _beside(replica: str | Path) -> Path:
    return Path(f"{replica}{SUFFIX}")


def _as_pem(given: bytes) -> str:
    if b"-----BEGIN CERTIFICATE-----" in given:
        return given.decode("ascii")
    return ssl.DER_cert_to_PEM_cert(given)
