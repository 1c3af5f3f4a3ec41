"""The fault proxy in a process of its own: ``python -m holdfast.testing.proxy_command``.

Knows: command lines and standard input. Must not know: HTTP.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
from collections.abc import Sequence

from holdfast.testing.proxy import FAULT_KINDS, FaultKind, FaultProxy


def _obey(proxy: FaultProxy, line: str) -> dict[str, object]:
    """Do one control line; the answer as a JSON object."""
    match line.split():
        case ["cut"]:
            proxy.cut()
        case ["heal"]:
            proxy.heal()
        case ["probability", value]:
            proxy.set_probability(float(value))
        case ["upstream", host, port]:
            proxy.set_upstream(host, int(port))
        case ["captive", "on" | "off" as state]:
            proxy.captive_portal(state == "on")
        case ["delay_ms", value]:
            proxy.delay_ms = float(value)
        case ["script", *kinds]:
            by_name: dict[str, FaultKind | None] = {kind: kind for kind in FAULT_KINDS}
            by_name["none"] = None
            proxy.scripted([by_name[kind] for kind in kinds])
        case ["stats"]:
            pass
        case _:
            raise ValueError(f"unknown command {line!r}")
    return {"ok": True, "requests": proxy.requests, "faults": proxy.faults}


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(argv: Sequence[str] | None = None) -> int:
    """Run a proxy in its own process: prints `ready URL`, ends on SIGTERM or SIGINT.

    With `--control` it obeys one command per line of stdin (cut, heal, probability P, upstream HOST
    PORT, captive on|off, delay_ms N, script KIND|none ..., stats), answers each with a line of
    JSON, and ends with its stdin.
    """
    parser = argparse.ArgumentParser(prog="python -m holdfast.testing.proxy")
    parser.add_argument("--upstream", required=True, metavar="HOST:PORT")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--probability", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--path", action="append", metavar="PREFIX", help="paths that suffer")
    parser.add_argument("--delay-ms", type=float, default=0.0)
    parser.add_argument("--control", action="store_true", help="obey commands on stdin")
    options = parser.parse_args(argv)
    host, _, port = options.upstream.rpartition(":")

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with (
        contextlib.suppress(KeyboardInterrupt),
        FaultProxy(
            upstream=(host, int(port)),
            probability=options.probability,
            seed=options.seed,
            paths=options.path or ("",),
            delay_ms=options.delay_ms,
            port=options.port,
        ) as proxy,
    ):
        _say(f"ready {proxy.url}")
        while not options.control:
            signal.pause()
        for line in sys.stdin:
            try:
                answer = _obey(proxy, line)
            except (ValueError, KeyError) as error:
                answer = {"ok": False, "error": str(error)}
            _say(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
