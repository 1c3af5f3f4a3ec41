"""``holdfast history``: what has happened to a replica.

Knows: the public methods of ``Replica``. Must not know: how it is stored.
"""

from __future__ import annotations

from holdfast.cli.output import document, moment, out, reported
from holdfast.cli.replica_commands import File, Json, open_existing


def history(file: File, as_json: Json = False) -> None:
    """The history of this replica: copies, restores, what was sent again."""
    with reported(as_json=as_json), open_existing(file) as replica:
        events = replica.history()
        if as_json:
            document({"events": [event.to_dict() for event in events]})
            return
        for event in events:
            out.print(f"{moment(event.at)}  {event.text}", markup=False, highlight=False)
        if not events:
            out.print("nothing has happened to this replica")
