"""Sets: JSON arrays of which additions and removals merge, and an addition wins.

Knows: two values and a difference of them. Must not know: whether the row lives, SQL, messages.
A change says which elements it adds and which it removes: the JSON text ``{"add":[],"remove":[]}``.
An element is removed only by who has seen it added: what another device has added since stays, and
so does what it has added once more. So each element that was added after the insert has, beside the
column's stamp, one of each device that has added it.

Elements are the same when their canonical texts are: no white space, characters written as
themselves, an object's keys in order and each once (the last counts); a number counts as it is
written, so 1 and 1.0 are two. A set that a change has made has its elements in the order of these
texts, each once; what was written whole stays as it was written until then. On its device so does
what was written on what stands there.

Upholds I18 (nothing is lost: of an addition and a removal, the addition stays).
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from holdfast.core import values
from holdfast.core.errors import BadValue, Refuse
from holdfast.core.limits import JSON_NESTING_MAX, SET_BYTES_MAX
from holdfast.core.merging.cells import Author, Cell, RowChange, Verdict, first_choice, written
from holdfast.core.merging.rows import Stamp, part_name, part_stamps
from holdfast.core.values import Value
from holdfast.schema.model import Column

_SURROGATE = re.compile("[\ud800-\udfff]")
_PIECE = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}:,]|[^\s\[\]{}:,"]+')


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _tree(text: Value, levels: int) -> Any:
    """Return what a JSON text says: arrays and objects as they are, so many levels deep, and all
    below as canonical text. Not by recursion, for it may be as deep as JSON may be. Raises
    ``BadValue``."""
    try:
        json.loads(str(text), parse_int=str, parse_float=str, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise BadValue("valid JSON expected") from None
    value: Any = None
    above: list[Any] = []
    keys: list[str | None] = []
    for piece in _PIECE.findall(str(text)):
        if piece in "[{":
            above.append([] if piece == "[" else {})
            keys.append(None)
            continue
        if piece in ",:":
            continue
        if piece in "]}":
            value = above.pop()
            keys.pop()
            value = value if len(above) < levels else _rendered(value)
        elif piece[0] != '"':
            value = piece
        elif above and isinstance(above[-1], dict) and keys[-1] is None:
            keys[-1] = json.loads(piece)
            continue
        else:
            value = _string(json.loads(piece))
        if above and isinstance(above[-1], dict):
            above[-1][keys[-1]], keys[-1] = value, None
        elif above:
            above[-1].append(value)
    return value


def _rendered(container: Any) -> str:
    if isinstance(container, list):
        return f"[{','.join(container)}]"
    return f"{{{','.join(f'{_string(key)}:{container[key]}' for key in sorted(container))}}}"


def _string(text: str) -> str:
    written = json.dumps(text, ensure_ascii=False)
    return _SURROGATE.sub(lambda found: f"\\u{ord(found.group()):04x}", written)


def _once(array: Any) -> list[str]:
    if not isinstance(array, list):
        raise BadValue('a set is a JSON array, such as ["a", "b"]')
    return list(dict.fromkeys(array))


def elements(text: Value) -> list[str]:
    """The canonical texts of a set's elements, each once. Raises ``BadValue``."""
    return _once(_tree(text, 1))


def _array(texts: Iterable[str]) -> str:
    return f"[{','.join(sorted(texts))}]"


def _word(added: Iterable[str], removed: Iterable[str]) -> str:
    return f'{{"add":{_array(added)},"remove":{_array(removed)}}}'


def _read(word: Value) -> tuple[list[str], list[str]]:
    """The elements that a difference adds, and those that it removes. Raises ``BadValue``."""
    parsed = _tree(word, 2)
    if not isinstance(parsed, dict) or parsed.keys() != {"add", "remove"}:
        raise BadValue('a change of a set is {"add": [...], "remove": [...]}')
    added = _once(parsed["add"])
    return added, [one for one in _once(parsed["remove"]) if one not in set(added)]


def check(column: Column, wire: Any, updates: bool) -> Value:
    """A set, or what an update says of one, from its wire form. Raises ``BadValue``."""
    text = values.from_wire(column.type, wire)
    if updates:
        return _word(*_read(text))
    elements(text)
    if len(str(text).encode()) > SET_BYTES_MAX:
        raise BadValue(f"a set has at most {SET_BYTES_MAX} bytes")
    if values.depth(str(text)) >= JSON_NESTING_MAX:  # a change of it has one level more
        raise BadValue(f"a set is nested less than {JSON_NESTING_MAX} levels deep")
    return text


def difference(before: Value, after: Value) -> Value:
    """Return what an update says that makes of one set another. Raises ``BadValue``."""
    old, new = dict.fromkeys(elements(before)), dict.fromkeys(elements(after))
    return _word((one for one in new if one not in old), (one for one in old if one not in new))


def between(word: Value) -> tuple[Value, Value]:
    """Return two sets between which an update says this, elements as it has written them."""
    added, removed = _read(word)
    return _array(removed), _array(added)


def replay(current: Value, before: Value, after: Value) -> Value:
    """A set after a change from one set (None: an insert) to another; as that one was written where
    it stands on the set that the change was made on."""
    if current == before:
        return after
    try:
        added, removed = _read(difference("[]" if before is None else before, after))
        return _applied(current, elements(current), added, removed)
    except BadValue:  # a file that was written without its checks
        return after


def join(first: Value, second: Value) -> Value:
    """Two differences, one after the other, as one; a set and a difference of it as a set."""
    added, removed = _read(second)
    if isinstance(_tree(first, 1), list):
        return _applied(first, elements(first), added, removed)
    before, gone = _read(first)
    now = {*(one for one in before if one not in removed), *added}
    return _word(now, {*gone, *removed} - now)


def _applied(
    value: Value, standing: Iterable[str], added: Iterable[str], removed: Iterable[str]
) -> Value:
    """A set with elements added and removed; as it was written when it has the same ones."""
    old = set(standing)
    new = (old - set(removed)) | set(added)
    return value if new == old else _array(new)


def decide(cell: Cell, change: RowChange, author: Author, *, settled: bool) -> Verdict:
    """Add and remove elements; an element that somebody else has added since stays. Raises
    ``Refuse`` (``overflow``)."""
    incoming = change.new[cell.column.name]
    inserts = change.op == "insert"
    if inserts and incoming == cell.column.default_value():
        return Verdict(cell.value, cell.stamp)
    if inserts and cell.unchosen:
        stamp = first_choice(cell, incoming, author)
        parts = {_name(cell, one, stamp): stamp for one in elements(incoming)}
        return Verdict(incoming, stamp, parts=parts)
    if not inserts and isinstance(_tree(incoming, 1), list):  # all of a side that was chosen
        incoming = difference(cell.value, incoming)
    added, removed = (elements(incoming), []) if inserts else _read(incoming)
    stamps = _Stamps(cell)
    gone = {one for one in removed if stamps.remove(one, author, settled=settled)}
    for one in added:
        stamps.add(one, author)
    if not added and not gone:
        return Verdict(cell.value, cell.stamp, parts=stamps.changed)
    value = _applied(cell.value, stamps.standing, added, gone)
    if len(str(value).encode()) > SET_BYTES_MAX:
        raise Refuse(
            "overflow",
            f"{cell.column.name} would have more than {SET_BYTES_MAX} bytes, which is the most "
            "that a set can have. Remove something from it first.",
            field=cell.column.name,
        )
    # What is added once more gets a new revision, too: who removes it has to have seen that.
    stamp = written(cell, author, follows=True)
    return Verdict(value, stamp, parts=stamps.changed, renewed=bool(added))


def _name(cell: Cell, element: str, stamp: Stamp) -> str:
    return part_name(cell.column.name, stamp.replica, element)


class _Stamps:
    """Adders of each element of a set, and what a change makes of them: an observed-remove set.

    An element has a stamp of each replica that has added it; without any, it is there since the
    insert.
    """

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self.standing = frozenset(elements(cell.value))
        self.changed: dict[str, Stamp | None] = {}
        self._of: dict[str, list[Stamp]] = defaultdict(list)
        for element, stamp in part_stamps(cell.column.name, cell.stamps):
            self._of[element].append(stamp)

    def add(self, element: str, author: Author) -> None:
        """Stamp an element that an author adds; what others have added of it stays added."""
        cell = self._cell
        if element in self.standing and not self._of[element]:
            self._put(element, cell.inserted)
        self._put(element, author.stamp(cell.rev))

    def remove(self, element: str, author: Author, *, settled: bool) -> bool:
        """Take an element's stamps that its remover has seen; True: none is left, it is gone."""
        if element not in self.standing:
            return False
        left = False
        for stamp in self._of[element] or [self._cell.inserted]:
            if author.wrote(stamp) or stamp.rev <= self._cell.base or settled:
                self.changed[_name(self._cell, element, stamp)] = None
            else:
                left = True
        return not left

    def _put(self, element: str, stamp: Stamp) -> None:
        self.changed[_name(self._cell, element, stamp)] = stamp


def show(_column: Column, wire: Any) -> Any:
    """A set as a list, or what an update says of one, as people read it in JSON."""
    try:
        return json.loads(wire) if isinstance(wire, str) else wire
    except ValueError:
        return wire
