"""A Python replica for tests of the browser's: it obeys lines on stdin and answers on stdout."""

from __future__ import annotations

import json
import sys
from typing import Any

from holdfast import Replica
from holdfast.core.errors import HoldfastError
from holdfast.schema.load import load_schema


def main() -> None:
    path, schema, server, token = sys.argv[1:]
    with Replica.open(path, load_schema(schema), server=server, token=token) as replica:
        for line in sys.stdin:
            command = json.loads(line)
            try:
                answer = {"ok": obey(replica, command)}
            except HoldfastError as error:
                answer = {"error": error.code}
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()


def obey(replica: Replica, command: dict[str, Any]) -> Any:
    match command:
        case {"write": sql}:
            with replica.transaction() as tx:
                for statement in sql:
                    tx.execute(statement)
            return None
        case {"query": sql}:
            return replica.query(sql)
        case {"sync": _}:
            report = replica.sync()
            return {"sent": report.sent, "refused": report.refused, "verified": report.verified}
        case {"resolve": keep}:
            for conflict in replica.conflicts():
                replica.resolve(conflict.id, keep=keep)
            return None
        case _:
            raise ValueError(command)


main()
