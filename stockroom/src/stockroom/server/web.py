"""The web app's files, with headers that let no foreign script or frame in.

Knows: a folder that a build has made. Must not know: the API, or who signs in.
Files whose names carry a hash never change and are kept by browsers; all others are asked for again
each time. Any other path leads to the one page there is, as all that it needs lies beside it. The
app may be below a path of a proxy.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

_POLICY: Final = (
    "default-src 'self'",
    "script-src 'self' 'wasm-unsafe-eval'",
    "img-src 'self' blob: data:",
    "media-src 'self' blob:",
    "object-src 'none'",
    "base-uri 'none'",
    "form-action 'self'",
    "frame-ancestors 'none'",
)
HEADERS: Final = {
    "content-security-policy": "; ".join(_POLICY),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(self), geolocation=(), microphone=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_HASHED: Final = re.compile(r"-[A-Za-z0-9_-]{8,}\.[a-z0-9.]+$")
_FOREVER: Final = "public, max-age=31536000, immutable"


class WebApp:
    """An ASGI app over the built files; says how to build them where there are none."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = StaticFiles(directory=folder, check_dir=False)

    @property
    def is_built(self) -> bool:
        return (self._folder / "index.html").is_file()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._answer(scope)
        for name, value in HEADERS.items():
            response.headers[name] = value
        hashed = response.status_code == 200 and _HASHED.search(scope["path"])
        response.headers["cache-control"] = _FOREVER if hashed else "no-cache"
        await response(scope, receive, send)

    async def _answer(self, scope: Scope) -> Response:
        if scope["method"] not in ("GET", "HEAD"):
            return PlainTextResponse("Only GET.", status_code=405, headers={"allow": "GET, HEAD"})
        if not self.is_built:
            return PlainTextResponse(
                "The app is not built yet: run `make web` beside the README.", status_code=503
            )
        page = f"{scope.get('root_path', '')}/"
        if scope["path"] == page:
            return FileResponse(self._folder / "index.html")
        path = self._files.get_path(scope)
        try:
            return await self._files.get_response(path, scope)
        except HTTPException as error:
            if error.status_code != 404 or Path(path).suffix:
                return PlainTextResponse(error.detail, status_code=error.status_code)
            return RedirectResponse(page)
