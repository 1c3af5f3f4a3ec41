"""Merge policies, as far as both languages have them: what a change says, and how it is made again.

Knows: values before, after and now, for every policy. Must not know: tables or messages.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from golden import Case, Family
from golden.values import tagged, untagged
from holdfast.core.errors import BadValue
from holdfast.core.limits import INTEGER_MAX, INTEGER_MIN
from holdfast.core.merging.policies import POLICIES
from holdfast.core.values import Value
from holdfast.schema.model import Column
from holdfast.schema.policies import RULES, ByPolicy

Change = tuple[Value, Value, Value]
"""What stands; and the values before and after a change that was made elsewhere."""

_TEXTS: tuple[Change, ...] = (("a", "b", "c"), ("c", "b", "c"), ("a", "b", "b"))
_NUMBERS: tuple[Change, ...] = ((1, 2, 3), (3, 2, 1), (2, 2, 2))
_CHANGES: ByPolicy[tuple[Change, ...]] = {
    "latest": _TEXTS,
    "manual": _TEXTS,
    "counter": (
        *_NUMBERS,
        (0, 0, 0),
        (INTEGER_MAX, 0, 1),
        (INTEGER_MIN, 1, 0),
        (5, -2, INTEGER_MAX - 5),
    ),
    "server": _TEXTS,
    "client": _TEXTS,
    "largest": _NUMBERS,
    "smallest": _NUMBERS,
    "set": (
        ("[]", "[]", '["a"]'),
        ('["b"]', "[]", '["a"]'),
        ('["a","b"]', '["a","b"]', '["b"]'),
        ('["a","b","c"]', '["a","b"]', '["b","d"]'),
        ('["b", "a"]', '["a","b"]', '["b", "a"]'),
        ('["b", "a"]', '["b", "a"]', '["c", "b"]'),
        ('["b","a","b"]', "[]", "[]"),
        ('["b","a","b"]', "[]", '["a"]'),
        ("[]", '["a","a"]', '["b","b"]'),
        (" [ 1 , 1.0 , 1e0 ]\n", "[]", "[10, 2, -0, 0]"),
        ("[9007199254740993]", "[]", "[9007199254740992, 12345678901234567890123]"),
        ('["\\u0041", "B"]', "[]", '["A", "\\u0042"]'),
        (
            '["\\ud83d\\ude00"]',
            "[]",
            '["😀", "\\ufffd", "\uffff", "\\ud800", "\\uDC00x"]',
        ),
        ("[]", '["\\u0000"]', '["\\u0000", "\\u0001"]'),
        ('["é"]', '["\\u00e9"]', '["\\t\\b\\/\\"\\\\\\u001f\\u007f\\u2028"]'),
        ('[{"b": 1, "a": [1, 2]}]', "[]", '[{"a":[1,2],"b":1}, {"a":[2,1],"b":1}]'),
        ('[{"a":1}]', '[{"a":2,"a":1}]', "[]"),
        ('[{"😀":1,"\uffff":2}]', "[]", '[{"\uffff":2,"😀":1}]'),
        ('[null, true, false, "null"]', "[null]", '["true", [], {}, [[]], ""]'),
        ('["[", "]", ",", "{\\"a\\":1}"]', '["["]', '[",", "a:b"]'),
        ('["a"]', "[]", "{}"),
        ('["a"]', '"a"', "[]"),
        ('["a"]', "[]", "no json"),
        ("null", "[]", '["a"]'),
    ),
}
_TYPES: ByPolicy[str] = {
    "latest": "text", "manual": "text", "counter": "integer", "server": "text", "client": "text",
    "largest": "integer", "smallest": "integer", "set": "json",
}  # fmt: skip


def _said(given: dict[str, Any]) -> Any:
    policy = POLICIES[given["policy"]]  # type: ignore[literal-required]
    try:
        return tagged(policy.difference(untagged(given["before"]), untagged(given["after"])))
    except BadValue as error:
        return {"error": error.code}


def _between(given: dict[str, Any]) -> Any:
    policy = POLICIES[given["policy"]]  # type: ignore[literal-required]
    try:
        said = policy.difference(untagged(given["before"]), untagged(given["after"]))
    except BadValue as error:
        return {"error": error.code}
    return [tagged(value) for value in policy.between(said)]


def _answer(given: dict[str, Any]) -> Any:
    policy = POLICIES[given["policy"]]  # type: ignore[literal-required]
    if "wire" in given:
        return policy.show(Column("c", "json", merge=given["policy"]), given["wire"])
    now, before, after = (untagged(given[name]) for name in ("now", "before", "after"))
    return {
        "start": tagged(RULES[given["policy"]].start),  # type: ignore[literal-required]
        "replaces": policy.replaces,
        "inherits": policy.inherits,
        "said": _said(given),
        "between": _between(given),
        "replayed": tagged(policy.replay(now, before, after)),
        "inserted": tagged(policy.replay(now, None, after)),
    }


def _inputs() -> Iterator[Case]:
    for name, changes in _CHANGES.items():
        assert isinstance(changes, tuple)
        for number, (now, before, after) in enumerate(changes):
            given = {"now": tagged(now), "before": tagged(before), "after": tagged(after)}
            yield f"{name} {number}", {"policy": name, **given}
    for number, wire in enumerate(('["b","a"]', '{"add":["a"],"remove":[]}', "no json", None)):
        yield f"set shown {number}", {"policy": "set", "wire": wire}


POLICY = Family(
    name="policies",
    about="For each merge policy: what an update says that makes `after` of `before`, the two "
    "values that are made of this word where only it is known, what becomes of `now` when that "
    "change is made again on it, and when an insert of `after` is; and how a word in its wire form "
    "is shown to people.",
    inputs=_inputs,
    answer=_answer,
)
