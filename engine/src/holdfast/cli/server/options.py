"""Options that every command has which serves: where it listens, to whom, and how much it takes on.

Knows: their names, help and meaning, once for `holdfast serve` and for apps that serve a schema of
their own. Must not know: what is served. Nothing of the server is loaded before it is asked for.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints
from urllib.parse import urlsplit

import typer

from holdfast.core.limits import (
    DEVICE_BYTES_PER_DAY_MAX,
    ROW_BYTES_MAX,
    SCOPE_BYTES_MAX,
    SCOPE_ROWS_MAX,
    USER_BYTES_PER_DAY_MAX,
)

if TYPE_CHECKING:
    from holdfast.server.exchange.budgets import Budgets
    from holdfast.server.http.connections import Limits
    from holdfast.server.http.front import FrontOptions
    from holdfast.server.tls.certificates import CertificateFiles

PARAMETER = "serving"
HERE = ("--proxy=127.0.0.1", "--proxy=::1")


def with_proxy_here(arguments: Sequence[str]) -> list[str]:
    """Let ``--proxy`` without an address, which no parser of options knows, mean this machine."""
    words = list[str]()
    for place, word in enumerate(arguments):
        is_alone = word == "--proxy" and "".join(arguments[place + 1 : place + 2])[:1] in ("", "-")
        words += HERE if is_alone else (word,)
    return words


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """Options of serving, as they were given."""

    database: Annotated[
        str, typer.Option(help="A SQLite file, made when missing, or postgresql://user@host/name.")
    ]
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = 0
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1"
    proxy: Annotated[
        list[str] | None,
        typer.Option(
            help="A reverse proxy's address or network: believe its X-Forwarded-... "
            "Alone: a proxy on this machine."
        ),
    ] = None
    public_url: Annotated[
        str,
        typer.Option(
            help="What browsers and devices call it, behind a proxy: https://shop.example.com."
        ),
    ] = ""
    root_path: Annotated[
        str,
        typer.Option(help="Below which path of the proxy it is, such as /shop; taken off or not."),
    ] = ""
    tls_cert: Annotated[
        Path | None,
        typer.Option(help="Speak TLS with this certificate and its chain, a PEM file."),
    ] = None
    tls_key: Annotated[Path | None, typer.Option(help="The certificate's key, a PEM file.")] = None
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(help="A name it answers to beside --host and localhost; * for any."),
    ] = None
    connections: Annotated[
        int | None, typer.Option(help="At the same time; as many as open files allow.", min=1)
    ] = None
    connections_per_address: Annotated[
        int | None, typer.Option(help="Of these, of one address; half without it.", min=1)
    ] = None
    quota_scope_rows: Annotated[int, typer.Option(help="Rows that a scope may hold.", min=1)] = (
        SCOPE_ROWS_MAX
    )
    quota_scope_bytes: Annotated[
        int, typer.Option(help="Bytes that the rows of a scope may have.", min=1)
    ] = SCOPE_BYTES_MAX
    quota_row_bytes: Annotated[int, typer.Option(help="Bytes that a row may have.", min=1)] = (
        ROW_BYTES_MAX
    )
    quota_device_bytes: Annotated[
        int, typer.Option(help="Bytes that a device may send up within a day.", min=1)
    ] = DEVICE_BYTES_PER_DAY_MAX
    quota_user_bytes: Annotated[
        int, typer.Option(help="Bytes that all devices of a user may send up within a day.", min=1)
    ] = USER_BYTES_PER_DAY_MAX
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info"

    def front(self) -> FrontOptions:
        """Return what stands before the server."""
        from holdfast.server.http.front import FrontOptions

        return FrontOptions(
            proxies=tuple(self.proxy or ()),
            hosts=tuple(self.allowed_host or ()),
            public_url=self.public_url,
            root_path=self.root_path,
        )

    def certificates(self) -> CertificateFiles | None:
        """Return the certificate that was named, if any. Raises ``UsageError``."""
        from holdfast.core.errors import UsageError
        from holdfast.server.tls.certificates import CertificateFiles

        if self.tls_cert is None and self.tls_key is None:
            return None
        if self.tls_cert is None or self.tls_key is None:
            missing = "--tls-key" if self.tls_key is None else "--tls-cert"
            raise UsageError(
                f"TLS needs both a certificate and its key: {missing} is missing",
                code="bad_option",
            )
        return CertificateFiles(self.tls_cert, self.tls_key, names=self._called())

    def _called(self) -> list[str]:
        """Names by which it is called, as far as they were given; behind a proxy, by that alone."""
        if self.proxy:
            return []
        names = [name for name in self.allowed_host or () if name != "*"]
        public = urlsplit(self.public_url).hostname if "://" in self.public_url else None
        return [*names, *([public] if public else [])]

    def limits(self) -> Limits:
        """Return how many it talks to at once."""
        from holdfast.server.http.connections import Limits

        return Limits(connections=self.connections, per_address=self.connections_per_address)

    def budgets(self) -> Budgets:
        """Return how much one may ask for and keep."""
        from holdfast.server.exchange.budgets import Budgets
        from holdfast.server.push.quotas import Quotas

        return Budgets(
            quotas=Quotas(
                scope_rows_max=self.quota_scope_rows,
                scope_bytes_max=self.quota_scope_bytes,
                row_bytes_max=self.quota_row_bytes,
                device_bytes_per_day_max=self.quota_device_bytes,
                user_bytes_per_day_max=self.quota_user_bytes,
            )
        )


def with_serving(**defaults: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of ``Serving`` in the place of its parameter ``serving``.
    ``defaults``: what this command does without them."""

    def given(command: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(Serving, include_extras=True)
        options = [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=defaults.get(
                    field.name,
                    inspect.Parameter.empty
                    if field.default is dataclasses.MISSING
                    else field.default,
                ),
                annotation=hints[field.name],
            )
            for field in dataclasses.fields(Serving)
        ]
        names = [option.name for option in options]
        own = inspect.signature(command, eval_str=True).parameters.values()
        parameters = [
            one
            for parameter in own
            for one in (options if parameter.name == PARAMETER else [parameter])
        ]

        @functools.wraps(command)
        def run(**said: Any) -> None:
            serving = Serving(**{name: said.pop(name) for name in names})
            command(**said, **{PARAMETER: serving})

        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        del run.__wrapped__
        return run

    return given
