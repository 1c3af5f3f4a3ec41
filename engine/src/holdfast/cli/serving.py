"""Options that every command has which serves: where it listens, to whom, and how much it takes on.

Knows: their names, help and meaning, once for `holdfast serve` and for apps that serve a schema of
their own. Must not know: what is served. Nothing of the server is loaded before it is asked for.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

if TYPE_CHECKING:
    from holdfast.server.front import FrontOptions
    from holdfast.server.gate import Limits

PARAMETER = "serving"


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What was said about serving. Each field is an option."""

    database: Annotated[
        str, typer.Option(help="A SQLite file, made when missing, or postgresql://user@host/name.")
    ]
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = 0
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1"
    proxy: Annotated[
        list[str] | None,
        typer.Option(help="A reverse proxy's address or network: believe its X-Forwarded-..."),
    ] = None
    public_url: Annotated[
        str,
        typer.Option(
            help="What browsers and devices call it, behind a proxy: https://shop.example.com."
        ),
    ] = ""
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
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info"

    def front(self) -> FrontOptions:
        """What stands before the server."""
        from holdfast.server.front import FrontOptions

        return FrontOptions(
            proxies=tuple(self.proxy or ()),
            hosts=tuple(self.allowed_host or ()),
            public_url=self.public_url,
        )

    def limits(self) -> Limits:
        """How many it talks to at once."""
        from holdfast.server.gate import Limits

        return Limits(connections=self.connections, per_address=self.connections_per_address)


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
