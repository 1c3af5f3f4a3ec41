"""A schema as data: tables, columns, keys, scopes, merge and delete policies, constraints.

Knows: what a developer declares, and whether it makes sense. Must not know: SQL or messages.
A schema has one JSON form, a generation and a fingerprint; only identifiers declared here ever
reach SQL.
"""

from __future__ import annotations

import functools
import hashlib
import re
from typing import Any, Literal, get_args

import msgspec

from holdfast.core import values
from holdfast.core.errors import BadValue, SchemaError
from holdfast.core.limits import (
    COLUMNS_MAX,
    FILL_LENGTH_MAX,
    IDENTIFIER_LENGTH_MAX,
    INTEGER_MAX,
    INTEGER_MIN,
    TABLES_MAX,
)
from holdfast.schema.defaults import wire_default
from holdfast.schema.migrations import Migration
from holdfast.schema.migrations import misfit as step_misfit
from holdfast.schema.policies import POLICIES, RULES, MergePolicy, misfit

DeletePolicy = Literal["keep", "delete", "manual"]
ColumnType = Literal[
    "text", "integer", "real", "boolean", "bytes", "uuid", "timestamp", "date", "decimal", "json"
]

GROUP_SEPARATOR = ","
"""Joins the columns of a group to its name; no column's name has it."""
_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]*\Z")
_TEMPLATE_PART = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_SCOPE_LITERAL = re.compile(r"[A-Za-z0-9_./:-]*\Z")


class Column(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One column. ``default`` is given as Python has it (``0``, ``Decimal("1.50")``, ``[]``) or in
    the wire form, which it is kept in; text of a ``json`` column is JSON. Without a default and not
    ``nullable``, the column is required."""

    name: str
    type: ColumnType = "text"
    merge: MergePolicy = "latest"
    nullable: bool = False
    default: Any = None
    corrected: bool = False
    """A time stamp that the server shifts by the device's clock offset when it accepts it."""
    scale: int = 0
    """Digits after the point of a ``decimal``."""
    fill: str | None = None
    """An SQL expression, in SQLite's dialect, over the row's other columns: the value that rows
    get which exist when the column is added, and rows that devices of older generations insert.
    Without it they get the default, or NULL."""

    def __post_init__(self) -> None:
        try:
            wire = wire_default(self.type, self.default, scale=self.scale)
        except (BadValue, ArithmeticError, ValueError):
            return  # the schema says what is wrong, and where
        if wire is not self.default:
            msgspec.structs.force_setattr(self, "default", wire)

    def default_value(self) -> values.Value:
        """The default in its storage form; ``None`` when there is none. Some policies have a start,
        such as a counter's 0."""
        if self.default is None:
            return RULES[self.merge].start
        return values.from_wire(self.type, self.default, scale=self.scale)


class ForeignKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``columns`` refer to the primary key of ``table``; deferred, no action."""

    columns: tuple[str, ...]
    table: str


class Check(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A constraint of the small declared set, on one column; NULL always passes."""

    column: str
    kind: Literal["range", "length", "one_of", "not_empty"]
    min: int | None = None
    max: int | None = None
    values: tuple[str, ...] = ()


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, dict=True):
    """One synced table. Keys are made by the client and never change."""

    name: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    scopes: tuple[str, ...]
    """Templates such as ``catalog`` or ``store/{store_id}``; ``*{column}`` is a JSON array of
    names."""
    on_delete: DeletePolicy = "keep"
    unique: tuple[tuple[str, ...], ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    checks: tuple[Check, ...] = ()
    existence_public: bool = False
    groups: tuple[tuple[str, ...], ...] = ()
    """Columns that are one decision, such as an amount and its currency: whoever changes one of
    them has decided about all of them, and they are merged as one value."""

    @functools.cached_property
    def by_name(self) -> dict[str, Column]:
        return {column.name: column for column in self.columns}

    @functools.cached_property
    def column_names(self) -> tuple[str, ...]:
        """All columns in declared order: the order of values in rows, hashes and messages."""
        return tuple(column.name for column in self.columns)

    @functools.cached_property
    def key_columns(self) -> tuple[Column, ...]:
        return tuple(self.by_name[name] for name in self.key)

    @functools.cached_property
    def data_columns(self) -> tuple[Column, ...]:
        """The columns that are not part of the key, in declared order."""
        return tuple(column for column in self.columns if column.name not in self.key)

    @functools.cached_property
    def default_data(self) -> tuple[values.Value, ...]:
        """The defaults of the data columns."""
        return tuple(column.default_value() for column in self.data_columns)

    @functools.cached_property
    def group_of(self) -> dict[str, tuple[str, ...]]:
        """The group of each column that is in one."""
        return {name: group for group in self.groups for name in group}

    @functools.cached_property
    def group_columns(self) -> dict[str, Column]:
        """For each group a column that stands for it (``core.merging.groups``), by name."""
        found = {}
        for group in self.groups:
            columns = [self.by_name[name] for name in group]
            default = {c.name: values.to_wire(c.type, c.default_value()) for c in columns}
            text = msgspec.json.encode(default).decode()
            name = GROUP_SEPARATOR.join(group)
            found[name] = Column(name, "json", merge=columns[0].merge, default=text)
        return found

    @functools.cached_property
    def cells(self) -> tuple[str, ...]:
        """Return what is decided as one, by name: data columns, and groups in the place of their
        first.
        """
        names = (column.name for column in self.data_columns)
        return tuple(
            dict.fromkeys(GROUP_SEPARATOR.join(self.group_of.get(name, (name,))) for name in names)
        )

    @functools.cached_property
    def partners(self) -> tuple[tuple[int, ...], ...]:
        """For each data column the positions, among the data columns, of all that are one decision
        with it: its own, and those of its group."""
        names = [column.name for column in self.data_columns]
        return tuple(
            tuple(sorted(names.index(one) for one in self.group_of.get(name, (name,))))
            for name in names
        )

    @functools.cached_property
    def positions(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.column_names)}

    @functools.cached_property
    def key_positions(self) -> tuple[int, ...]:
        return tuple(self.positions[name] for name in self.key)

    @functools.cached_property
    def scope_positions(self) -> tuple[int, ...]:
        """Positions of the columns that the scope templates name, in order of their naming."""
        return tuple(
            self.positions[name] for scope in self.scopes for name in template_columns(scope)
        )

    @functools.cached_property
    def known_scopes(self) -> dict[tuple[values.Value, ...], tuple[str, ...]]:
        """Scopes by the values of ``scope_positions``: what ``core.keys`` remembers, within
        bounds."""
        return {}

    @functools.cached_property
    def has_corrected(self) -> bool:
        """Return whether the server changes values of its rows: by the clock offset of their
        device.
        """
        return any(column.corrected for column in self.columns)


class Schema(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, dict=True
):
    """All synced tables of an app. ``local`` is SQL for tables and triggers that are not synced."""

    name: str
    tables: tuple[Table, ...]
    generation: int = 1
    local: tuple[str, ...] = ()
    migrations: tuple[Migration, ...] = ()
    """The declared steps that lead to this generation from those before it."""
    supports_from: int = 0
    """The support floor: devices of lower generations have to be updated first; 0: as the steps
    ask for."""

    def __post_init__(self) -> None:
        _validate(self)

    @functools.cached_property
    def fingerprint(self) -> str:
        """32 hex digits; equal exactly for equal synced tables (``local`` does not count)."""
        body = msgspec.json.encode(
            [self.name, self.generation, [msgspec.to_builtins(t) for t in self.tables]]
        )
        return hashlib.blake2s(body, digest_size=16).hexdigest()

    @functools.cached_property
    def all_tables(self) -> tuple[Table, ...]:
        """The declared tables and the engine's own synced ones."""
        return (*self.tables, CONFLICT_TABLE)

    @functools.cached_property
    def by_name(self) -> dict[str, Table]:
        return {table.name: table for table in self.all_tables}

    def to_json(self) -> bytes:
        return msgspec.json.format(msgspec.json.encode(self), indent=2)

    @classmethod
    def from_json(cls, text: str | bytes) -> Schema:
        """Read the JSON form. Raises ``SchemaError`` with the place of the fault."""
        try:
            return msgspec.json.decode(text, type=cls)
        except SchemaError:
            raise
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            raise SchemaError(f"not a schema: {error}") from None


def template_columns(template: str) -> tuple[str, ...]:
    """The columns a scope template names."""
    return tuple(_TEMPLATE_PART.findall(template))


def _fail(where: str, what: str) -> None:
    raise SchemaError(f"{where}: {what}")


def _identifier(where: str, name: str, *, engine: bool = False) -> None:
    if len(name) > IDENTIFIER_LENGTH_MAX or not _IDENTIFIER.match(name):
        _fail(where, f"{name!r} is not a name (a-z, 0-9 and _, at most {IDENTIFIER_LENGTH_MAX})")
    if not engine and name.startswith(("holdfast_", "sqlite_")):
        _fail(where, f"{name!r} is reserved")


def _validate(schema: Schema) -> None:
    _identifier("schema", schema.name)
    if not schema.tables or len(schema.tables) > TABLES_MAX:
        _fail("schema", f"needs 1 to {TABLES_MAX} tables")
    if schema.generation < 1:
        _fail("schema", "generation starts at 1")
    names = [table.name for table in schema.tables]
    if len(set(names)) != len(names):
        _fail("schema", "a table is declared twice")
    tables = {table.name: table for table in schema.tables}
    for table in schema.tables:
        _identifier("schema", table.name)
        _validate_table(table, tables)
    _validate_migrations(schema)


def _validate_migrations(schema: Schema) -> None:
    if not 0 <= schema.supports_from <= schema.generation:
        _fail("schema", f"supports_from is a generation up to {schema.generation}")
    last = 1
    for migration in schema.migrations:
        where = f"migration to generation {migration.generation}"
        if not last < migration.generation <= schema.generation:
            _fail(where, f"they go up, from 2 to at most {schema.generation}")
        last = migration.generation
        for step in migration.steps:
            wrong = step_misfit(step)
            if wrong:
                _fail(where, f"{step.kind} of {step.table} {wrong}")
            for name in filter(None, (step.table, *step.column.split(","), step.to)):
                _identifier(where, name)
            if step.convert is not None and not 0 < len(step.convert.strip()) <= FILL_LENGTH_MAX:
                _fail(where, f"convert is an expression of at most {FILL_LENGTH_MAX} characters")


def _validate_table(table: Table, tables: dict[str, Table]) -> None:
    where = f"table {table.name}"
    columns = [column.name for column in table.columns]
    if not columns or len(columns) > COLUMNS_MAX or len(set(columns)) != len(columns):
        _fail(where, f"needs 1 to {COLUMNS_MAX} different columns")
    for column in table.columns:
        _validate_column(where, column, is_key=column.name in table.key)
        _validate_fill(where, column, is_key=column.name in table.key)
    if not table.key or len(set(table.key)) != len(table.key):
        _fail(where, "needs a key")
    for name in (*table.key, *(name for unique in table.unique for name in unique)):
        if name not in columns:
            _fail(where, f"no column {name!r}")
    if not table.scopes:
        _fail(where, "needs at least one scope")
    for template in table.scopes:
        _validate_template(where, table, template)
    for key in table.foreign_keys:
        _validate_foreign_key(where, table, key, tables.get(key.table))
    for check in table.checks:
        _validate_check(where, table, check)
    if table.on_delete not in get_args(DeletePolicy):
        _fail(where, f"{table.on_delete!r} is not a delete policy")
    _validate_unique_reach(where, table)
    _validate_groups(where, table)


def _validate_column(where: str, column: Column, *, is_key: bool) -> None:
    _identifier(where, column.name)
    where = f"{where}, column {column.name}"
    if column.type not in values.TYPES:
        _fail(where, f"{column.type!r} is not a type")
    if column.merge not in POLICIES:
        _fail(where, f"{column.merge!r} is not a merge policy ({', '.join(POLICIES)})")
    if is_key and column.corrected:
        _fail(where, "a key never changes, so it cannot be corrected")
    if is_key and (column.type not in values.KEY_TYPES or column.nullable):
        _fail(where, f"a key is one of {', '.join(values.KEY_TYPES)} and never null")
    if is_key and column.merge != "latest":
        _fail(where, "a key never changes, so it has no merge policy")
    if column.corrected and column.type != "timestamp":
        _fail(where, "only a timestamp can be corrected")
    if column.scale and column.type != "decimal":
        _fail(where, "only a decimal has a scale")
    if not 0 <= column.scale <= 12:
        _fail(where, "scale is 0 to 12")
    try:
        default = column.default_value()
    except BadValue as error:
        _fail(where, f"default: {error.message}")
    else:
        unfit = misfit(column.merge, column.type, nullable=column.nullable, default=default)
        if unfit:
            _fail(where, unfit)


def _validate_fill(where: str, column: Column, *, is_key: bool) -> None:
    if column.fill is None:
        return
    where = f"{where}, column {column.name}"
    if is_key or column.merge in ("counter", "set"):
        _fail(where, "a key, a counter and a set have no fill")
    if not column.fill.strip() or len(column.fill) > FILL_LENGTH_MAX:
        _fail(where, f"a fill is an SQL expression of at most {FILL_LENGTH_MAX} characters")
    if not column.nullable and column.default is None:
        _fail(where, "a column with a fill is nullable or has a default")


def _validate_foreign_key(where: str, table: Table, key: ForeignKey, parent: Table | None) -> None:
    if parent is None or any(name not in table.by_name for name in key.columns):
        _fail(where, f"foreign key to {key.table}: no such table or column")
    elif [table.by_name[n].type for n in key.columns] != [c.type for c in parent.key_columns]:
        _fail(where, f"foreign key to {key.table} does not fit its key")


_CHECKABLE = {
    "range": ("integer", "real", "timestamp"),
    "length": ("text", "bytes", "json"),
    "not_empty": ("text", "bytes", "json"),
    "one_of": ("text", "integer", "uuid", "date", "decimal", "timestamp"),
}


def _validate_check(where: str, table: Table, check: Check) -> None:
    column = table.by_name.get(check.column)
    where = f"{where}, check on {check.column!r}"
    if column is None:
        _fail(where, "no such column")
    elif column.type not in _CHECKABLE.get(check.kind, ()):
        _fail(where, f"{check.kind!r} does not fit a {column.type}")
    elif check.kind in ("range", "length"):
        least, most = check.min, check.max
        if (least is None and most is None) or not (
            INTEGER_MIN <= (INTEGER_MIN if least is None else least)
            <= (INTEGER_MAX if most is None else most) <= INTEGER_MAX
        ):  # fmt: skip
            _fail(where, "needs a min, a max or both, and min is at most max")
    elif check.kind == "one_of":
        try:
            for text in check.values:
                values.from_wire(column.type, text, scale=column.scale)
        except BadValue as error:
            _fail(where, f"one of its values: {error.message}")
        if not check.values:
            _fail(where, "needs values")


def _validate_template(where: str, table: Table, template: str) -> None:
    literal = _TEMPLATE_PART.sub("", template)
    array = literal.startswith("*")
    if array and (literal != "*" or len(template_columns(template)) != 1):
        _fail(where, f"scope {template!r} is not a template")
    if not _SCOPE_LITERAL.match(literal.removeprefix("*")):
        _fail(where, f"scope {template!r} has other signs than letters, digits and _./:-")
    for name in template_columns(template):
        column = table.by_name.get(name)
        if column is None or column.nullable:
            _fail(where, f"scope {template!r}: {name!r} is not a column that is never null")
        elif column.type not in (("json",) if array else values.KEY_TYPES):
            _fail(where, f"scope {template!r}: {name!r} has the wrong type")


def _validate_unique_reach(where: str, table: Table) -> None:
    """A unique key must not reach beyond what a device can see."""
    for unique in table.unique:
        if not unique or len(set(unique)) != len(unique):
            _fail(where, f"unique {unique} needs different columns")
        scoped = any(set(template_columns(template)) <= set(unique) for template in table.scopes)
        uuids = all(table.by_name[name].type == "uuid" for name in unique)
        if not (scoped or uuids or table.existence_public):
            _fail(where, f"unique {unique} reaches beyond its scopes (say existence_public)")


def _validate_groups(where: str, table: Table) -> None:
    """A group is data columns that nobody else has, decided alike."""
    taken: set[str] = set()
    for group in table.groups:
        named = f"{where}, group {', '.join(group)}"
        if len(group) < 2 or len(set(group)) != len(group):
            _fail(named, "needs two or more different columns")
        for name in group:
            column = table.by_name.get(name)
            if column is None:
                _fail(named, f"no column {name!r}")
            elif name in table.key:
                _fail(named, f"{name!r} is part of the key, which never changes")
            elif name in taken:
                _fail(named, f"{name!r} is in another group already")
            elif not RULES[column.merge].grouped:
                can = ", ".join(policy for policy in POLICIES if RULES[policy].grouped)
                _fail(named, f"{name!r} merges by {column.merge!r}; a group can be {can}")
            elif column.corrected:
                _fail(named, f"{name!r} is corrected by the server, apart from the others")
        if len({table.by_name[name].merge for name in group}) > 1:
            _fail(named, "its columns need the same merge policy: they are decided as one")
        taken.update(group)


CONFLICT_TABLE = Table(
    name="holdfast_conflict",
    key=("id",),
    columns=(
        Column("id", "uuid"),
        Column("scopes", "json", default="[]"),
        Column("table_name", "text"),
        Column("row_key", "text"),
        Column("column_name", "text"),
        Column("kind", "text", default="edit"),
        Column("base", "json", nullable=True),
        Column("mine", "json", nullable=True),
        Column("theirs", "json", nullable=True),
        Column("user", "text"),
        Column("device", "text"),
        Column("at", "timestamp"),
        Column("their_user", "text", default=""),
        Column("their_device", "text", default=""),
        Column("their_at", "timestamp", nullable=True),
        Column("state", "text", default="open"),
        Column("chosen", "json", nullable=True),
        Column("settled_by", "text", nullable=True),
        Column("settled_at", "timestamp", nullable=True),
    ),
    scopes=("*{scopes}",),
)
"""Conflicts are rows: synced in the scopes of the row they concern, settled on any device.

``mine`` is the side of the device named in ``device``, whose change did not go in; ``theirs`` is
the
value that stands on the server. Values are in their wire form. ``state``: open, settled.
"""
