"""Display of ``holdfast run``: each new status as a line, a first load as a bar.

Knows: the status of background sync. Must not know: how it came about.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Any, Self

from holdfast.cli.output import err, moment, progress_bar


class Watch:
    """Shows sessions as they change. Use as a context manager; ``show`` from any thread."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._bar = ExitStack()
        self._update: Callable[[str, int, int], None] | None = None
        self._line = ""
        self._gone = False
        self._lock = threading.Lock()

    def show(self, session: dict[str, Any]) -> None:
        """A new status: a line when it says something new."""
        with self._lock:
            if self._gone:
                return
            try:
                self._show(session)
            except (OSError, ValueError, SystemExit):  # rich ends the process for a closed pipe
                self._gone = True  # nobody reads it any more; that is no reason not to sync

    def _show(self, session: dict[str, Any]) -> None:
        loading = session.get("loading")
        if loading is None:
            self._end_bar()
        elif err.is_terminal:
            self._advance(loading)
        stage = f"  {loading['stage']} {', '.join(loading['scopes'])}" if loading else ""
        error = f"  ({session['error_code']})" if session.get("error_code") else ""
        line = f"{session['state']}{stage}{error}"
        if session.get("waiting_for"):
            line = f"waiting for {session['waiting_for']}, which syncs this replica"
        if line != self._line or loading is None:
            self._line = line
            err.print(f"{moment(time.time_ns() // 1000)}  {line}", highlight=False)
            if session["state"].startswith("needs_") and session.get("way_out"):
                err.print(f"    {session['way_out']}", highlight=False, markup=False)

    def _advance(self, loading: dict[str, Any]) -> None:
        if self._update is None:
            self._update = self._bar.enter_context(progress_bar(as_json=self._as_json))
        self._update(loading["stage"], loading["done"], loading["total"])

    def _end_bar(self) -> None:
        self._bar.close()
        self._update = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock, suppress(OSError, ValueError, SystemExit):
            self._end_bar()
