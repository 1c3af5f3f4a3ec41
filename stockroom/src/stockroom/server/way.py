"""The way to a server: where it listens, by which names it is called, and how it is secured.

Knows: the options of listening, the shop's own network, proxies. Must not know: the database, or
people.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from holdfast.server.http.front import ANY_HOST, FrontOptions, root_path_of
from holdfast.server.run import Tls
from holdfast.server.tls.certificates import Certificates
from stockroom.server.lan.addresses import LOCALHOST, LOOPBACK, is_loopback, this_machine, url_of
from stockroom.server.lan.guide import Guide
from stockroom.server.lan.shop import InTheClear, Lan

if TYPE_CHECKING:
    from starlette.types import ASGIApp

_EVERYBODY: Final = (
    "Everybody who can reach this machine is answered, from beyond your shop, too, if its network "
    "lets them in. Without --host it is your own network alone."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LanWelcome:
    """Facts that a shop's own network has to know. `begin`: where phones begin that do not trust
    the authority yet; `fingerprint`: its mark, for people to compare."""

    begin: str
    authority_file: Path
    fingerprint: str


class Way:
    """A way to reach a server. `host`: what was asked for, or nothing; `lan`: the folder of the
    shop's own certificates. Raises `UsageError`."""

    def __init__(
        self,
        host: str,
        front: FrontOptions,
        *,
        lan: Path | None = None,
        certificates: Certificates | None = None,
    ) -> None:
        self._asked = host
        self._root = root_path_of(front.root_path)
        self._certificates = certificates
        more = tuple(name for name in front.hosts if name != ANY_HOST)
        self._lan = None if lan is None else Lan(lan, more=more, near=not host)
        self.host = host or (LOOPBACK[0] if lan is None else "")
        self.front = front
        if self._lan is not None:
            # A browser that was told so would use TLS for whatever else is on this machine, too.
            names = (*front.hosts, *self._lan.machine().names)
            self.front = replace(front, hosts=names, strict_transport=False)
        self._url = ""

    def listens(self, url: str) -> None:
        """It does, at this address."""
        self._url = url
        if self._lan is not None:
            self._lan.listens(self._port)

    @property
    def _port(self) -> int:
        parts = urlsplit(self._url)
        return parts.port or {"http": 80, "https": 443}[parts.scheme]

    def urls(self) -> tuple[str, ...]:
        """Addresses by which devices find it, best first."""
        if self._lan is None:
            return (self._url + self._root,)
        machine = self._lan.machine()
        names = sorted(machine.names, key=lambda name: name.endswith(".local"))
        every = (*names, *machine.addresses, LOCALHOST)
        return tuple(url_of(name, self._port) + self._root for name in every)

    def link(self) -> str:
        """The beginning of a link that is opened at this machine, which needs no TLS for it."""
        if self.front.public_url:
            return self.front.public_url.rstrip("/") + self._root
        if self._lan is not None:
            return url_of(LOCALHOST, self._port, scheme="http") + self._root
        return self._url + self._root

    def guide(self) -> Guide:
        """The guide for people who came by an address on which no browser works."""
        if self._lan is not None:
            return self._lan.guide()
        safe = [self.front.public_url.rstrip("/"), self._url if self._certificates else ""]
        return Guide(tuple(url + self._root for url in safe if url.startswith("https:")))

    def known_guide(self) -> Guide:
        """The guide for people who came by a name that is not ours: what anybody may know."""
        return Guide(tuple(url for url in self.guide().urls if self.front.public_url))

    def tls(self, app: ASGIApp, trust: ASGIApp) -> Tls | None:
        if self._lan is not None:
            return self._lan.tls(app, trust)
        if self._certificates is None:
            return None
        return Tls(certificates=self._certificates, plain=InTheClear(app, trust, self.guide))

    def welcome(self) -> LanWelcome | None:
        lan = self._lan
        if lan is None:
            return None
        return LanWelcome(
            begin=lan.begin(), authority_file=lan.authority_file, fingerprint=lan.fingerprint
        )

    def warnings(self) -> tuple[str, ...]:
        """Sentences that whoever starts it has to know."""
        lan = self._lan
        if lan is not None:
            if self._asked and is_loopback(self._asked):
                return ()
            if self._asked:
                return (_EVERYBODY, *lan.left_out())
            public = [one for one in lan.machine().public if ":" not in one]
            if not public:
                return lan.left_out()
            said = (
                f"This machine has an address of the internet ({', '.join(public)}). Only its own "
                "network is answered; --host 0.0.0.0 answers everybody."
            )
            return (said, *lan.left_out())
        secured = self._certificates is not None or self.front.public_url.startswith("https:")
        if secured or self.front.proxies or is_loopback(self.host):
            return ()
        machine = this_machine()
        name = next(iter((*machine.addresses, *machine.names)), self.host)
        shown = url_of(name, self._port, scheme="http")
        said = (
            f"No phone can sign in at {shown}: browsers keep work "
            "safely by https only. Start it with --lan (https on the shop's own network), with "
            "--tls-cert and --tls-key, or behind a proxy that speaks https (--proxy, --public-url)."
        )
        return (said,)
