"""What must hold where files are copied, put back and lost: all that any file has is done once.

Knows: the files and the server, by plain SQL, and the ledger. Must not know: replicas, origins,
epochs, or anything else by which the engine gets there. What only a lost file, or the later state
of one that was put back, had is written off when the server has not heard of it.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from checks import (
    counters_add_up,
    everything_is_decided,
    holds_a_checkpoint,
    nothing_foreign_in_the_file,
    open_conflicts_are_right,
    same_rows,
    server_digests,
    server_is_sound,
)
from copies import Copies, File
from purses import has_purses, moves_are_whole, nothing_seen_goes_away
from readers import never_goes_back, what_is_shown_stands_on_what_is_shown


def after_step(world: Copies) -> None:
    """The cheap ones."""
    server_is_sound(world)
    open_conflicts_are_right(world)
    for file in world.devices:
        what_is_shown_stands_on_what_is_shown(file)
        if has_purses(file) and not (world.server and file.is_comparing()):
            slips = moves_are_whole(file)
            if not world.server:
                nothing_seen_goes_away(file, slips, set())
        if not world.server:
            never_goes_back(file)
            if not file.is_comparing():
                holds_a_checkpoint(world, file)


def at_rest(world: Copies) -> None:
    """When the network has healed and everybody has synced until it was quiet."""
    world.latest = world.dump_server()
    after_step(world)
    applied = decided_once(world)
    for file in world.devices:
        assert isinstance(file, File)
        everything_is_decided(world, file)
        same_rows(world, file)
        nothing_foreign_in_the_file(world, file)
        caused = world.count["server put back"] > 1  # bases of a history that is beside this one
        assert caused or file.replica.status.mismatches == 0, "I36: a mismatch that nobody caused"
        nothing_that_is_held_is_lost(world, file)
        history_adds_up(file)
    counters_add_up(world, applied)
    the_server_has_whole_moves(world)
    server_digests(world)
    assert not world.server_rows(world.database.NOTED), "a direct write is not taken in"
    assert world.service.deep_check() == 0, "the server's own deep check found a difference"


def decided_once(world: Copies) -> dict[tuple[str, int], tuple[str, str, int]]:
    """I6: whoever has offered a transaction, it was decided in one way. By device and id."""
    found: dict[tuple[str, int], tuple[str, str, int]] = {}
    ways: dict[str, set[str]] = defaultdict(set)
    for device, id_, outcome, settled in world.server_rows(
        "SELECT r.device, a.id, a.outcome, a.settled FROM holdfast_applied AS a "
        "JOIN holdfast_replica AS r ON r.replica = a.replica"
    ):
        text = bytes(id_).hex()
        ways[text].add(str(outcome))
        place = str(device), int(text, 16)
        if place not in found or outcome == "applied":
            found[place] = text, str(outcome), int(settled)
    torn = {id_ for id_, outcomes in ways.items() if len(outcomes) > 1}
    assert not torn, f"I6: decided in several ways: {torn}"
    return found


def nothing_that_is_held_is_lost(world: Copies, file: File) -> None:
    """I4: each move of which the file has heard is on the server, or waits in its inbox."""
    there = {row[0] for row in world.server_rows("SELECT id FROM slip")}
    waiting = {
        change["key"]
        for item in file.replica.refused()
        for change in item.changes
        if change["table"] == "slip"
    }
    lost = file.made_slips - there - waiting
    assert not lost, f"I4: {file.path.parent.name} has committed {lost}, which nobody has"
    world.count["move in the inbox"] += len(waiting)


def the_server_has_whole_moves(world: Copies) -> None:
    """I7, I16: no move was done twice, or by half."""
    wanted: dict[str, int] = defaultdict(int)
    for source, target, coins in world.server_rows("SELECT source, target, coins FROM slip"):
        wanted[source] -= coins
        wanted[target] += coins
    held: dict[str, Any] = dict(world.server_rows("SELECT id, n FROM purse"))
    firsts = {held[id_] - wanted[id_] for id_ in held}
    assert len(firsts) == 1, f"I7: purses hold {held}, but the slips say {dict(wanted)}"


def history_adds_up(file: File) -> None:
    """What is told of each fork is no more than was offered again. A refusal that had arrived
    already counts as both."""
    for event in file.replica.history():
        assert max(event.already_there, event.to_inbox) <= event.resent, event
