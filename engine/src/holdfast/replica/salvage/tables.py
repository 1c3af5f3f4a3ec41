"""Tables of a damaged file by their columns: rows that are whole, and what is missing of them.

Knows: trees, the SQL that a table was made with, and that an index has the keys of its table's rows
once more. Must not know: what the tables are for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from holdfast.core.errors import DatabaseError
from holdfast.core.values import Value
from holdfast.replica.salvage.records import StoredRecord
from holdfast.replica.salvage.trees import StoredObject, TreeRows, Trees
from holdfast.sql.names import quote
from holdfast.sqlite import Driver, OpenOptions

RowValues = dict[str, Value]
"""A row by its columns; those of a row that is cut off are not there."""
Fits = Callable[[RowValues], bool]
"""Whether a row may be one of a table."""


@dataclass(slots=True)
class TableFinds:
    """Rows of one table by rowid, or in the order of their key where there is none. ``holes``:
    pairs of rowids between which some may be missing; None: from the begin, or to the end."""

    name: str
    columns: tuple[str, ...]
    rows: dict[int, RowValues] = field(default_factory=dict)
    holes: list[tuple[int | None, int | None]] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        return not self.holes


@dataclass(frozen=True, slots=True)
class _Claim:
    """A lost tree as rows of a table. ``exact``: they have as many columns as it has."""

    table: TableFinds
    rows: dict[int, RowValues]
    exact: bool


@dataclass(frozen=True, slots=True)
class _Layout:
    """Columns as they lie in a record, and which of them are read."""

    columns: tuple[str, ...]
    defaults: tuple[Value, ...]
    rowid_column: str
    order: tuple[int, ...]
    """Places of the columns in a record: a table without rowids has its key first."""


class Tables:
    """The tables of one damaged file."""

    def __init__(self, trees: Trees, driver: Driver) -> None:
        self._trees = trees
        self._driver = driver
        self.known: Mapping[str, str] = {}
        """What tables were made with, where the file does not say so any more."""
        self._found: dict[str, TableFinds] = {}
        self._lost = list(trees.lost_trees())
        self._claims: dict[int, list[_Claim]] = {}
        """Lost trees, and the tables of which their rows may be."""

    @property
    def objects(self) -> Mapping[str, StoredObject]:
        return self._trees.objects

    def read(self, name: str, fits: Fits, *, lost: bool = True) -> TableFinds | None:
        """A table's rows; None: nobody knows of such a table. ``lost``: ``fits`` tells its rows
        from those of others, so that leaves which no tree leads to are looked at, too."""
        stored = self._trees.objects.get(name)
        sql = stored.sql if stored is not None else self.known.get(name, "")
        layout = self._layout(name, sql)
        known = self._layout(name, self.known.get(name, ""))
        if known is not None and (layout is None or _is_garbled(layout, known)):
            layout = known
        if layout is None:
            return None
        tree = TreeRows(holes=[0]) if stored is None else self._trees.rows(stored.root)
        found = self._found[name] = TableFinds(name, layout.columns)
        for place, cell in enumerate(tree.cells):
            row = _row(layout, cell)
            if not cell.whole or not fits(row):
                tree.holes.append(place)
                if name == "holdfast_state" and fits(row):  # its long texts come last
                    found.rows.setdefault(cell.rowid, row)
                continue
            found.rows[cell.rowid or place + 1] = row
        rowids = [cell.rowid for cell in tree.cells]
        for place in sorted(set(tree.holes)):
            before = rowids[place - 1] if 0 < place <= len(rowids) else None
            behind = rowids[place] if place < len(rowids) else None
            found.holes.append((before, behind))
        if lost and found.holes and layout.order == tuple(range(len(layout.order))):
            self._claim_lost(layout, found, fits)
        return found

    def _claim_lost(self, layout: _Layout, found: TableFinds, fits: Fits) -> None:
        """Note the lost trees of which the rows fit, and nothing of them may be another's."""
        width = len(layout.columns)
        for place, tree in enumerate(self._lost):
            rows = {cell.rowid: _row(layout, cell) for cell in tree.cells if cell.whole}
            widths = {len(cell.values) for cell in tree.cells if cell.whole}
            if rows and max(widths) <= width and all(map(fits, rows.values())):
                claim = _Claim(found, rows, exact=max(widths) == width)
                self._claims.setdefault(place, []).append(claim)

    def settle_claims(self, proves: Callable[[str, dict[int, RowValues]], bool]) -> None:
        """Give each lost tree to the one table that it can be of: by its form, or as ``proves``
        says. A table that the file does not list any more is whole again when it has got one whole
        tree, or none, and there is an empty tree for each such table."""
        given: dict[str, list[TreeRows]] = {}
        for place, claims in self._claims.items():
            likely = [one for one in claims if one.exact] or claims
            if len(likely) > 1:
                likely = [one for one in likely if proves(one.table.name, one.rows)]
            if len(likely) == 1:
                for rowid, row in likely[0].rows.items():
                    likely[0].table.rows.setdefault(rowid, row)
                given.setdefault(likely[0].table.name, []).append(self._lost[place])
        unlisted = [
            name
            for name, sql in self.known.items()
            if name not in self.objects and "WITHOUT ROWID" not in sql
        ]
        nothing_left = sum(name not in given for name in unlisted) <= self._trees.empty_lost
        for name in unlisted:
            trees = given.get(name, [])
            whole = trees[0].whole if len(trees) == 1 else not trees and nothing_left
            if whole and name in self._found:
                self._found[name].holes.clear()

    def index(self, name: str) -> tuple[list[tuple[Value, ...]], bool] | None:
        """The entries of an index, the rowid last, and whether none is missing; None: it is not
        known where it is."""
        stored = self._trees.objects.get(name)
        if stored is None or stored.kind != "index":
            return None
        tree = self._trees.rows(stored.root)
        return [cell.values for cell in tree.cells if cell.whole], tree.whole

    def _layout(self, name: str, sql: str) -> _Layout | None:
        """Return how a table's rows lie in records: SQLite tells it of one made likewise."""
        if not sql.upper().startswith("CREATE TABLE"):
            return None
        try:
            with closing(self._driver.connect(":memory:", OpenOptions())) as scratch:
                scratch.execute(sql)
                columns = scratch.execute(
                    "SELECT name, type, dflt_value, pk, hidden FROM pragma_table_xinfo(?)", (name,)
                )
                ((without_rowid,),) = scratch.execute(
                    "SELECT wr FROM pragma_table_list(?) WHERE schema = 'main'", (name,)
                )
                stored = [column for column in columns if column[4] != 2]
                defaults = [
                    scratch.execute(f"SELECT {text}")[0][0] if isinstance(text, str) else None
                    for _, _, text, _, _ in stored
                ]
        except (DatabaseError, ValueError):
            return None
        names = tuple(str(column[0]) for column in stored)
        keys = [place for place, column in enumerate(stored) if column[3]]
        order = list(range(len(names)))
        alias = ""
        if without_rowid:
            keys.sort(key=lambda place: int(str(stored[place][3])))
            order = [*keys, *(place for place in order if place not in keys)]
        elif len(keys) == 1 and str(stored[keys[0]][1]).upper() == "INTEGER":
            alias = names[keys[0]]
        return _Layout(names, tuple(defaults), alias, tuple(order))


def _is_garbled(layout: _Layout, known: _Layout) -> bool:
    """Return whether a name of a column cannot be right. Columns that came later stand behind."""
    same = len(layout.columns) == len(known.columns)
    return same and set(layout.columns) != set(known.columns)


def _row(layout: _Layout, cell: StoredRecord) -> RowValues:
    """A record's values by column; what was added to the table later has its default."""
    row: RowValues = {}
    values: Sequence[Value] = cell.values
    for place, column in enumerate(layout.order):
        if place < len(values):
            row[layout.columns[column]] = values[place]
        elif cell.whole:
            row[layout.columns[column]] = layout.defaults[column]
    if layout.rowid_column:
        row[layout.rowid_column] = cell.rowid
    return row


def insert_row(name: str, columns: Sequence[str]) -> str:
    """The statement that puts a row with these columns into a table."""
    marks = ", ".join("?" * len(columns))
    listed = ", ".join(quote(column) for column in columns)
    return f"INSERT INTO {quote(name)} ({listed}) VALUES ({marks})"
