"""Rules of the server: what a transaction must not do, whoever sends it.

In: one transaction, merged but not committed (`RuleContext`), and who sends it. Out: nothing, a
refusal with a code and a sentence for a person, or rows more. `ledger` guards movements, `roles`
says who may change what, `tills` knows who is at work at a device that several people share,
`roster` keeps names of people and devices, `codes` one form of each article number, `skus` tells
SKUs apart, `same_goods` guards products that are made one,
`deliveries` lets what is booked stand and goods be received once, `history` keeps what was done to
products. What an app shows or hides protects nothing: a device belongs to whoever holds it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stockroom.rules.archived_goods import archived_goods_are_asked_about
from stockroom.rules.codes import codes_have_one_form
from stockroom.rules.deliveries import (
    decisions_stand,
    deliveries_are_signed,
    deliveries_stand_as_booked,
    goods_are_received_once,
)
from stockroom.rules.history import products_have_a_history
from stockroom.rules.ledger import (
    movements_are_only_added,
    movements_are_signed,
    movements_fit_their_store,
    reversals_are_exact_opposites,
)
from stockroom.rules.roles import (
    answers_are_signed,
    costs_are_kept_apart,
    only_owners_change_the_shop,
    roles_change_what_they_may,
    roles_move_what_they_may,
    stores_are_changed_by_who_works_there,
)
from stockroom.rules.roster import names_are_ones_own
from stockroom.rules.same_goods import products_are_merged_soundly
from stockroom.rules.skus import skus_are_told_apart
from stockroom.rules.tills import tills_are_worked_by_who_may

if TYPE_CHECKING:
    from holdfast.server.push.rules import Rule

rules: Final[tuple[Rule, ...]] = (
    tills_are_worked_by_who_may,
    movements_are_only_added,
    movements_fit_their_store,
    reversals_are_exact_opposites,
    roles_change_what_they_may,
    roles_move_what_they_may,
    stores_are_changed_by_who_works_there,
    only_owners_change_the_shop,
    names_are_ones_own,
    codes_have_one_form,
    skus_are_told_apart,
    products_are_merged_soundly,
    answers_are_signed,
    deliveries_stand_as_booked,
    deliveries_are_signed,
    decisions_stand,
    goods_are_received_once,
    archived_goods_are_asked_about,
    movements_are_signed,
    products_have_a_history,
    costs_are_kept_apart,
)
"""All rules, in the order in which they run: `holdfast serve --rules stockroom.rules:rules`."""

as_recorded: Final = tuple(rule for rule in rules if rule is not skus_are_told_apart)
"""For what another system has recorded, which knows `85123A` and `85123a` as two articles."""
