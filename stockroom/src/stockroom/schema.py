"""Stockroom's schema as data: tables, scopes, merge policies, and the local cache of stock.

Knows: the shape of the app's data. Must not know: how it is written, synced or shown.

Money is integer minor units (pence, cents) with a currency; quantities are integers in base units;
times are microseconds since 1970, UTC. Stock is a ledger: a movement is written once and never
changed, so that two devices that write offline cannot lose each other's quantity.

Scopes: `catalog` is what every store shares, `store/{id}` is what happens at one store, `staff` is
for those who manage people, `cost` for those who see what goods cost the shop, and `pin/{id}` for
the tills of one store.
"""

from __future__ import annotations

from typing import Final

from holdfast.schema import Check, Column, ForeignKey, Schema, Table
from stockroom.on_hand import ON_HAND_SQL
from stockroom.same_goods import SAME_GOODS_SQL
from stockroom.search import SEARCH_SQL
from stockroom.skus import LIKE_SQL

KINDS: Final = (
    "receive",
    "sale",
    "use",
    "waste",
    "damage",
    "theft",
    "found",
    "customer_return",
    "supplier_return",
    "transfer_out",
    "transfer_in",
    "opening",
    "reversal",
    "correction",
)
"""Why stock moved."""

DELIVERY_STATES: Final = ("draft", "booked", "undone", "dropped")
"""A draft is booked or dropped; what is booked can be undone. Nothing leads back."""

LOSSES: Final = ("", "dropped", "overridden")
"""How a change of a product met another: not at all, a later one stood, or who made it had not seen
what stood."""

ROLES: Final = ("employee", "manager", "admin")

QUANTITY_MAX: Final = 1_000_000_000
"""Base units in one movement, either way; nine billion such movements still fit 64 bits."""

PACK_MAX: Final = 100_000
"""Pieces in one package; more is a slip."""

STORE_ID_LENGTH_MAX: Final = 40
FIRST_LOCATION_NAME: Final = "Main"

SHOP_ID: Final = "shop"
"""The key of the one row of `shop`."""
FIRST_CURRENCY: Final = "EUR"
FIRST_LANGUAGE: Final = "en"
FIRST_TIME_ZONE: Final = "UTC"

SETTING_SQL: Final = (
    "CREATE TABLE device_setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID"
)
"""What a device remembers for itself, such as its store; never synced."""

OF_DELIVERY_SQL: Final = (
    "CREATE INDEX movement_of_delivery ON movement (delivery_id) WHERE delivery_id IS NOT NULL"
)

OF_NOTE_SQL: Final = (
    "CREATE INDEX movement_of_note ON movement (document COLLATE NOCASE) WHERE document <> ''"
)

OF_PRODUCT_SQL: Final = "CREATE INDEX product_change_of ON product_change (product_id, changed_at)"

CATALOG: Final = ("catalog",)
STORE: Final = ("store/{store_id}",)
STAFF: Final = ("staff",)
PINS: Final = ("pin/{store_id}",)
COST: Final = ("cost",)


def _text(name: str, *, manual: bool = False, default: str | None = "") -> Column:
    """A text; without a default it has to be given."""
    return Column(name, merge="manual" if manual else "latest", default=default)


def _first(name: str) -> Column:
    """A text of which the first writing stands."""
    return Column(name, merge="server", default="")


def _name(column: str = "name") -> Check:
    return Check(column=column, kind="not_empty")


_STORE = Table(
    name="store",
    key=("id",),
    # Without a name until somebody gives it one: a device that opens a store offline only says that
    # there is one, and a default yields to a name that was chosen.
    columns=(Column("id"), _text("name")),
    scopes=CATALOG,
    checks=(Check(column="id", kind="length", min=1, max=STORE_ID_LENGTH_MAX),),
)

# The shop itself: one row, made when it is set up. What is typed without a currency is in this one.
_SHOP = Table(
    name="shop",
    key=("id",),
    columns=(
        Column("id"),
        _text("name", default=None),
        _text("currency", default=FIRST_CURRENCY),
        _text("language", default=FIRST_LANGUAGE),
        _text("time_zone", default=FIRST_TIME_ZONE),
    ),
    scopes=CATALOG,
    checks=(
        Check(column="id", kind="one_of", values=(SHOP_ID,)),
        _name(),
        Check(column="currency", kind="length", min=3, max=3),
    ),
)

# What people are called: movements and devices know them by what they sign in with. The role is
# written by the server alone: "" where somebody is let in no more, or it is not known.
_PERSON = Table(
    name="person",
    key=("login",),
    columns=(Column("login"), _text("name", default=None), _text("role")),
    scopes=CATALOG,
    checks=(_name(),),
)

# Who works at a store, written by the server: whoever may do less is told whom to ask. An owner
# works everywhere, and is in none of these rows.
_WORKS_AT = Table(
    name="works_at",
    key=("store_id", "login"),
    columns=(Column("store_id"), Column("login")),
    scopes=STORE,
)

# What devices are called: histories and questions know them by their ids.
_DEVICE = Table(
    name="device",
    key=("id",),
    # Who is at work at a till: whatever it sends after this is that person's. Nobody is "".
    columns=(Column("id"), _text("name"), _text("login"), _text("at_work")),
    scopes=CATALOG,
)

# How a till knows who stands before it, without a connection (`pins`): written by the server, and
# on no device but the tills of that store.
_PIN = Table(
    name="pin",
    key=("store_id", "login"),
    columns=(
        Column("store_id"),
        Column("login"),
        _text("salt"),
        _text("hash"),
        Column("rounds", "integer", default=0),
    ),
    scopes=PINS,
)

_LOCATION = Table(
    name="location",
    key=("id",),
    columns=(
        Column("id", "uuid"),
        Column("store_id"),
        _text("name", default=FIRST_LOCATION_NAME),
        Column("archived", "boolean", merge="manual", default=False),
    ),
    scopes=CATALOG,
    foreign_keys=(ForeignKey(columns=("store_id",), table="store"),),
    checks=(_name(),),
)

_SUPPLIER = Table(
    name="supplier",
    key=("id",),
    columns=(Column("id", "uuid"), _text("name", default=None), _text("contact"), _text("notes")),
    scopes=CATALOG,
    checks=(_name(),),
)

_CATEGORY = Table(
    name="category",
    key=("id",),
    columns=(Column("id", "uuid"), _text("name", default=None)),
    scopes=CATALOG,
    checks=(_name(),),
)

_PRODUCT = Table(
    name="product",
    key=("id",),
    columns=(
        Column("id", "uuid"),
        _text("sku", manual=True, default=None),
        _text("name", default=None),
        _text("description"),
        _text("shelf"),
        _text("notes"),
        Column("price", "integer", merge="manual", default="0"),
        Column("cost", "integer", merge="manual", nullable=True),
        _text("currency", manual=True, default="EUR"),
        _text("unit", manual=True, default="piece"),
        Column("archived", "boolean", merge="manual", default=False),
        Column("supplier_id", "uuid", nullable=True),
        Column("category_id", "uuid", nullable=True),
        # With a price of 0: nobody has said yet what it costs. It is not free.
        Column("unpriced", "boolean", default=False),
        # The product that these goods are found to be; what is moved or scanned of this one is
        # that one's. No foreign key: it may be undone, and nothing is ever removed.
        Column("merged_into", "uuid", nullable=True),
    ),
    scopes=CATALOG,
    # Price and cost are amounts of one currency: who changes one of them has seen the others.
    groups=(("price", "cost", "currency"),),
    # A SKU names one product in the whole house; who meets a taken one may know that it is taken.
    unique=(("sku",),),
    existence_public=True,
    foreign_keys=(
        ForeignKey(columns=("supplier_id",), table="supplier"),
        ForeignKey(columns=("category_id",), table="category"),
    ),
    checks=(
        _name("sku"),
        _name(),
        Check(column="currency", kind="length", min=3, max=3),
    ),
)

# What goods cost the shop is a manager's to see: no other device has this table's rows. A cost that
# is written with a product (`product.cost`) is moved here by the server, and stands there no more.
_PRODUCT_COST = Table(
    name="product_cost",
    key=("product_id",),
    columns=(
        Column("product_id", "uuid"),
        Column("cost", "integer", merge="manual", nullable=True),
        _text("currency", manual=True, default="EUR"),
    ),
    scopes=COST,
    groups=(("cost", "currency"),),
    foreign_keys=(ForeignKey(columns=("product_id",), table="product"),),
    checks=(Check(column="currency", kind="length", min=3, max=3),),
)

# What a role may do where the shop has said so; else what `permissions` has. Any deed: a newer
# release may know more of them.
_PERMISSION = Table(
    name="permission",
    key=("role", "deed"),
    columns=(Column("role"), Column("deed"), Column("allowed", "boolean", default=False)),
    scopes=CATALOG,
)

# The code is the key: the same new barcode on two devices is one row, and a person is asked which
# product it names when they disagree.
_BARCODE = Table(
    name="barcode",
    key=("code",),
    columns=(
        Column("code"),
        Column("product_id", "uuid", merge="manual"),
        # So many are in what has this code: a case of 12 counts 12.
        Column("pack", "integer", default=1),
    ),
    scopes=CATALOG,
    foreign_keys=(ForeignKey(columns=("product_id",), table="product"),),
    checks=(Check(column="pack", kind="range", min=1, max=PACK_MAX),),
)

_REORDER_RULE = Table(
    name="reorder_rule",
    key=("store_id", "product_id"),
    columns=(
        Column("store_id"),
        Column("product_id", "uuid"),
        Column("reorder_at", "integer", default="0"),
        Column("order_up_to", "integer", default="0"),
    ),
    scopes=STORE,
    foreign_keys=(ForeignKey(columns=("product_id",), table="product"),),
)

# Two devices that write the same movement, one undo made on both, meet in one row: what it says of
# who, when and why is what the first of them has written.
_MOVEMENT = Table(
    name="movement",
    key=("id",),
    columns=(
        Column("id", "uuid"),
        Column("product_id", "uuid"),
        Column("location_id", "uuid"),
        Column("store_id"),
        Column("quantity", "integer"),
        Column("kind"),
        _first("reason"),
        _first("document"),
        _first("person"),
        _first("device"),
        Column("occurred_at", "timestamp", corrected=True, merge="server"),
        _first("note"),
        Column("reverses", "uuid", nullable=True),
        # No foreign key: a device of an older release may have the movement without its document.
        Column("delivery_id", "uuid", merge="server", nullable=True),
    ),
    scopes=STORE,
    foreign_keys=(
        ForeignKey(columns=("product_id",), table="product"),
        ForeignKey(columns=("location_id",), table="location"),
    ),
    checks=(
        Check(column="kind", kind="one_of", values=KINDS),
        Check(column="quantity", kind="range", min=-QUANTITY_MAX, max=QUANTITY_MAX),
    ),
)

_QUESTION = Table(
    name="question",
    key=("id",),
    columns=(
        Column("id", "uuid"),
        Column("store_id"),
        Column("kind"),
        Column("about_table"),
        Column("about_key"),
        _text("text"),
        Column("asked_at", "timestamp", corrected=True),
        Column("answer", merge="manual", nullable=True),
        _text("answered_by"),
        # What is in question, and the row beside which it is: goods received twice have a second
        # movement and a first one.
        Column("in_question", "integer", default=0),
        _first("other_key"),
        # The first answer stands; whoever answers another on a second device yields to it.
        _first("decided"),
        _first("decided_by"),
        Column("decided_at", "timestamp", corrected=True, merge="server", nullable=True),
    ),
    scopes=STORE,
)

# A draft is these rows from its first line on: as durable as stock, and seen by other devices at
# once. A document is booked and undone once, whoever does it first.
_DELIVERY = Table(
    name="delivery",
    key=("id",),
    columns=(
        Column("id", "uuid"),
        Column("store_id"),
        Column("supplier_id", "uuid", nullable=True),
        _text("document"),
        Column("status", merge="server", default="draft"),
        _first("started_by"),
        _first("started_on"),
        Column("started_at", "timestamp", corrected=True, merge="server"),
        _first("booked_by"),
        _first("booked_on"),
        Column("booked_at", "timestamp", corrected=True, merge="server", nullable=True),
        _first("undone_by"),
        Column("undone_at", "timestamp", corrected=True, merge="server", nullable=True),
    ),
    scopes=STORE,
    # A state and who has brought it about are one: the first of two stands whole.
    groups=(("status", "booked_by", "booked_on", "undone_by"),),
    foreign_keys=(ForeignKey(columns=("supplier_id",), table="supplier"),),
    checks=(Check(column="status", kind="one_of", values=DELIVERY_STATES),),
)

# The id follows from delivery and product: two people who scan the same goods count on one line.
# Taps and scans add up (`scanned`); a number that is typed is what somebody saw, and the later one
# stands (`seen`: that number less what was scanned by then). Here are `seen + scanned`.
_DELIVERY_LINE = Table(
    name="delivery_line",
    key=("id",),
    columns=(
        Column("id", "uuid"),
        Column("delivery_id", "uuid"),
        Column("store_id"),
        Column("product_id", "uuid"),
        Column("expected", "integer", nullable=True),
        Column("scanned", "integer", merge="counter", default=0),
        Column("seen", "integer", default=0),
        Column("damaged", "integer", default=0),
        _text("note"),
        Column("removed", "boolean", default=False),
        # They come on top of what was received with the same note: a person has said so.
        Column("more", "boolean", default=False),
        Column("booked", "integer", merge="server", default=0),
        Column("added_at", "timestamp", corrected=True, merge="server"),
    ),
    scopes=STORE,
    foreign_keys=(
        ForeignKey(columns=("delivery_id",), table="delivery"),
        ForeignKey(columns=("product_id",), table="product"),
    ),
)

# Written by the server alone, with each change of a product and of its codes: what stood there,
# what stands there now, and what merging has let fall. The cost is not for everybody's eyes.
_PRODUCT_CHANGE = Table(
    name="product_change",
    key=("id",),
    columns=(
        Column("id", "uuid"),
        Column("product_id", "uuid"),
        _first("field"),
        _first("old_value"),
        _first("new_value"),
        _first("lost"),
        _first("person"),
        _first("device"),
        Column("changed_at", "timestamp", merge="server"),
    ),
    # No foreign key: what a product was called outlives it.
    scopes=CATALOG,
    checks=(Check(column="lost", kind="one_of", values=LOSSES),),
)

_EMPLOYEE = Table(
    name="employee",
    key=("id",),
    columns=(
        Column("id", "uuid"),
        _text("name", default=None),
        _text("role", manual=True, default="employee"),
        Column("archived", "boolean", merge="manual", default=False),
    ),
    scopes=STAFF,
    checks=(_name(), Check(column="role", kind="one_of", values=ROLES)),
)

schema: Final = Schema(
    name="stockroom",
    tables=(
        _STORE,
        _LOCATION,
        _SUPPLIER,
        _CATEGORY,
        _PRODUCT,
        _BARCODE,
        _REORDER_RULE,
        _MOVEMENT,
        _QUESTION,
        _EMPLOYEE,
        _SHOP,
        _PERSON,
        _DELIVERY,
        _DELIVERY_LINE,
        _PRODUCT_CHANGE,
        _PRODUCT_COST,
        _PERMISSION,
        _WORKS_AT,
        _DEVICE,
        _PIN,
    ),
    generation=4,
    local=(
        *SAME_GOODS_SQL,
        *ON_HAND_SQL,
        *SEARCH_SQL,
        *LIKE_SQL,
        SETTING_SQL,
        OF_DELIVERY_SQL,
        OF_PRODUCT_SQL,
        OF_NOTE_SQL,
    ),
)
"""Given to `holdfast serve --schema stockroom.schema:schema` and to every replica."""
