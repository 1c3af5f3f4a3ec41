"""Enrolment codes that people type, and tokens that nobody does."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.enrolment_codes import (
    ALPHABET,
    CODE_LENGTH,
    is_token,
    new_code,
    new_token,
    normal_code,
    secret_hash,
)
from holdfast.core.errors import BadValue


def test_the_alphabet_has_nothing_that_is_taken_for_another() -> None:
    assert len(set(ALPHABET)) == 23
    assert not set(ALPHABET) & set("B8I1L0OQS5U2Z")


@given(st.randoms(use_true_random=False))
def test_a_code_is_read_however_it_is_written(draw: random.Random) -> None:
    code = new_code(draw.randbytes)
    assert [len(group) for group in code.split("-")] == [4, 4, 4]
    plain = code.replace("-", "")
    for text in (code, plain, code.lower(), f" {code.replace('-', ' ')}\n", "-".join(plain)):
        assert normal_code(text) == plain


def test_every_single_error_and_every_exchange_is_found() -> None:
    code = normal_code(new_code(random.Random(1).randbytes))
    wrong = [
        code[:place] + other + code[place + 1 :]
        for place in range(CODE_LENGTH)
        for other in ALPHABET
        if other != code[place]
    ]
    for one, two in itertools.combinations(range(CODE_LENGTH), 2):
        if code[one] != code[two]:
            letters = list(code)
            letters[one], letters[two] = letters[two], letters[one]
            wrong.append("".join(letters))
    wrong += [code[:-1], code + "A", "", code[1:] + "\0", code.replace(code[0], "O")]
    for text in wrong:
        with pytest.raises(BadValue):
            normal_code(text)


def test_characters_are_drawn_evenly() -> None:
    draw = random.Random(2)
    counts = dict.fromkeys(ALPHABET, 0)
    for _ in range(3000):
        for character in normal_code(new_code(draw.randbytes))[:-1]:
            counts[character] += 1
    expected = 3000 * (CODE_LENGTH - 1) / len(ALPHABET)
    assert all(0.85 * expected < count < 1.15 * expected for count in counts.values()), counts


def test_tokens_and_hashes() -> None:
    token = new_token(lambda count: bytes(range(count)))
    assert token == "hft_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
    assert is_token(token)
    assert not any(map(is_token, ("", "token-a", "hft_ä", "hft_" + "x" * 100)))
    assert len({secret_hash(p, s) for p in ("code", "token") for s in ("a", "b", "\ud800")}) == 6
