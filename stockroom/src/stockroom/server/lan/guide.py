"""The pages by which people find the safe address of a shop, and devices come to trust it.

Knows: the paths below `/trust/`, files and their types, words of the pages. Must not know: how
certificates are made, or the app. They are open to everybody: nothing on them is secret.
"""

from __future__ import annotations

import io
import json
import plistlib
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from pathlib import Path
from string import Template
from typing import Final

import segno
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import Receive, Scope, Send

from stockroom.server.lan.authority import fingerprint_of, pem_of
from stockroom.server.lan.steps import CERTIFICATE, DEVICES, PROFILE, section

PREFIX: Final = "/trust/"
_PAGE: Final = Path(__file__).parent / "page"
_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
    "connect-src https:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
_TITLE: Final = "Use the safe address"
_TYPES: Final = {".css": "text/css", ".js": "text/javascript"}
_LOGO: Final = (
    '<svg viewBox="0 0 48 48" aria-hidden="true"><rect width="48" height="48" fill="#0b6b57"/>'
    '<g fill="none" stroke="#ffffff" stroke-width="2.5" stroke-linejoin="round">'
    '<path d="M24 11l11 6v13l-11 6-11-6V17z"/><path d="M13 17l11 6 11-6M24 23v13"/>'
    "</g></svg>"
)


@dataclass(frozen=True)
class Guide:
    """Facts that the pages tell. ``urls``: safe addresses, best first; ``begin``: the address for
    phones, which are sent on from there; ``authority``: the shop's own, if it has one."""

    urls: tuple[str, ...] = ()
    begin: str = ""
    authority: x509.Certificate | None = field(default=None, repr=False)

    def page(self, *, opened: str, base: str = "", strange: bool = False) -> str:
        """``opened``: the address by which somebody came; ``strange``: it is none of ours."""
        own = self.authority is not None
        url = self.urls[0] if self.urls else ""
        how = "".join(section(device, base) for device in DEVICES)
        button = f'<a class="button" id="open" href="{url}/">Open {escape(url)}</a>' if url else ""
        return _template().substitute(
            title="Trust your shop" if own and opened.startswith("https:") else _TITLE,
            base=base,
            probes=" ".join(self.urls) if own else "",
            logo=_LOGO,
            lead=_lead(opened, known=bool(url), strange=strange),
            open=button,
            guide=_GUIDE.substitute(fingerprint=self._fingerprint, how=how) if own else "",
            aside=_ASIDE.substitute(base=base, begin=escape(self.begin)) if self.begin else "",
        )

    @property
    def _fingerprint(self) -> str:
        return "" if self.authority is None else fingerprint_of(self.authority)

    @cached_property
    def files(self) -> Mapping[str, tuple[str, bytes]]:
        """Files that devices take away from here: media type and content, by name."""
        found = {}
        if self.authority is not None:
            plain = self.authority.public_bytes(serialization.Encoding.DER)
            found[CERTIFICATE] = ("application/x-x509-ca-cert", plain)
            found["stockroom-authority.pem"] = ("application/x-pem-file", pem_of(self.authority))
            found[PROFILE] = ("application/x-apple-aspen-config", _profile(plain))
        scanned = self.begin or next((f"{url}/" for url in self.urls), "")
        if scanned:
            found["qr.svg"] = ("image/svg+xml", qr_svg(scanned))
        for file in _PAGE.iterdir():
            if file.suffix in _TYPES:
                found[file.name] = (_TYPES[file.suffix], file.read_bytes())
        return found


class GuideApp:
    """ASGI app of `/trust/`. ``guide``: asked at each request, as addresses change."""

    def __init__(self, guide: Callable[[], Guide]) -> None:
        self._guide = guide

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self._answer(scope)
        for name, value in _HEADERS.items():
            answer.headers.setdefault(name, value)
        await answer(scope, receive, send)

    def _answer(self, scope: Scope) -> Response:
        if scope["method"] not in ("GET", "HEAD"):
            return Response("Only GET.", 405, {"allow": "GET, HEAD"}, media_type="text/plain")
        guide, base = self._guide(), str(scope.get("root_path", ""))
        name = scope["path"].removeprefix(base).removeprefix(PREFIX)
        if name == "":
            return page_of(guide, scope)
        if name == "ok":  # by https only who trusts it gets here
            open_to_all = {
                "access-control-allow-origin": "*",
                "cross-origin-resource-policy": "cross-origin",
            }
            return JSONResponse({"trusted": scope["scheme"] == "https"}, headers=open_to_all)
        if name == "address":
            told = {"urls": guide.urls, "own_authority": guide.authority is not None}
            return Response(json.dumps(told), media_type="application/json")
        found = guide.files.get(name)
        if found is None:
            return Response("There is nothing here.", 404, media_type="text/plain")
        kind, content = found
        named = {"content-disposition": f'attachment; filename="{name}"'}
        is_file = kind.startswith(("application/x-pem", "application/x-x509"))
        return Response(content, headers=named if is_file else None, media_type=kind)


def page_of(guide: Guide, scope: Scope, *, status: int = 200, strange: bool = False) -> Response:
    """The page itself, for a request by whatever address."""
    host = Headers(scope=scope).get("host", "")
    opened = f"{scope['scheme']}://{host}" if host else ""
    page = guide.page(opened=opened, base=str(scope.get("root_path", "")), strange=strange)
    return HTMLResponse(page, status_code=status, headers=_HEADERS)


def qr_svg(text: str) -> bytes:
    """A QR code as a picture, with the quiet zone that scanners want."""
    file = io.BytesIO()
    segno.make(text, error="m", micro=False).save(
        file, kind="svg", scale=8, border=4, xmldecl=False, light="#fff", dark="#101010"
    )
    return file.getvalue()


def qr_lines(text: str) -> str:
    """A QR code for a terminal."""
    file = io.StringIO()
    segno.make(text, error="l", micro=False).terminal(file, border=2, compact=True)
    return file.getvalue()


def _lead(opened: str, *, known: bool, strange: bool) -> str:
    end = "" if known else " Ask whoever runs the server for the address that begins with https."
    if strange:
        return (
            f"You opened {escape(opened or 'an address without a name')}. Stockroom does not "
            "answer by that name, and starts only by an address that is its own and safe (https)."
            f"{end} Whoever runs it can add a name: --allowed-host."
        )
    if opened.startswith("https:"):
        return (
            "Each phone, tablet and computer is told once that it may believe your shop's own "
            "server. From then on it opens Stockroom as safely as any other page."
        )
    return (
        f"You opened {escape(opened or 'an address without https')}. On that address a browser "
        f"keeps nothing safely, so Stockroom does not start there.{end}"
    )


def _profile(authority: bytes) -> bytes:
    """A profile that iPhones and iPads install. The same authority is the same profile."""
    mark = uuid.uuid5(uuid.NAMESPACE_OID, authority.hex())
    content = {
        "PayloadType": "com.apple.security.root",
        "PayloadVersion": 1,
        "PayloadIdentifier": f"stockroom.authority.{mark}",
        "PayloadUUID": str(uuid.uuid5(mark, "content")).upper(),
        "PayloadDisplayName": "Stockroom authority",
        "PayloadCertificateFileName": CERTIFICATE,
        "PayloadContent": authority,
    }
    return plistlib.dumps(
        {
            "PayloadType": "Configuration",
            "PayloadVersion": 1,
            "PayloadIdentifier": f"stockroom.profile.{mark}",
            "PayloadUUID": str(mark).upper(),
            "PayloadDisplayName": "Stockroom: your shop's server",
            "PayloadDescription": "Lets this device open your shop's own server by https.",
            "PayloadContent": [content],
        }
    )


def _template() -> Template:
    return Template((_PAGE / "guide.html").read_text(encoding="utf-8"))


_GUIDE: Final = Template(
    "<h2>First time on this device?</h2>"
    "<p>It does not know your shop's own certificate yet, and would warn of it. Tell it once:</p>"
    '<div class="devices">$how</div>'
    '<div class="box"><b>Is it really your shop?</b> The computer that runs Stockroom shows this '
    "mark when it starts. If the one on your device differs, stop. <br /><code>$fingerprint</code>"
    "</div>"
)
_ASIDE: Final = Template(
    '<aside><div><p>On a phone or tablet, scan this</p><img class="qr" src="$base/trust/qr.svg" '
    'alt="QR code of $begin" /><p class="address">It opens $begin</p></div></aside>'
)
