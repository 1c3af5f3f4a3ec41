"""Grants, sorted out once, say what the patterns say one by one."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from holdfast.server.identity.principal import Principal

SCOPES = st.sampled_from(["a", "a/b", "a/bc", "a/b/c", "b", "*", "a*", ""])
PATTERNS = st.lists(st.sampled_from(["a", "a/b", "a/*", "a*", "a/b*", "*", "b", ""]), max_size=4)


def matches(pattern: str, scope: str) -> bool:
    """Whether a pattern names a scope: exact, or a prefix when the pattern ends with ``*``."""
    return scope.startswith(pattern[:-1]) if pattern.endswith("*") else scope == pattern


@given(read=PATTERNS, write=PATTERNS, scopes=st.lists(SCOPES))
def test_grants_say_what_their_patterns_say(
    read: list[str], write: list[str], scopes: list[str]
) -> None:
    principal = Principal("u", "d", tuple(read), tuple(write))
    for scope in scopes:
        assert principal.may_read(scope) == any(matches(p, scope) for p in (*read, *write))
        assert principal.may_write(scope) == any(matches(p, scope) for p in write)
    assert principal.readable(scopes) == tuple(sorted(s for s in scopes if principal.may_read(s)))


def test_a_changed_principal_has_the_changed_grants() -> None:
    one = Principal("u", "d", read=("a",), write=("b*",))
    two = replace(one, read=("c",), write=())
    assert two.may_read("c")
    assert not two.may_read("a")
    assert not two.may_read("b1")
    assert not two.may_write("b1")
    assert one == replace(two, read=("a",), write=("b*",))
