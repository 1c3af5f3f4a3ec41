"""Which passwords are taken."""

from __future__ import annotations

import pytest

from holdfast.core.errors import UsageError
from holdfast.server.identity.password_rules import check


@pytest.mark.parametrize(
    "password",
    [
        "",
        "        ",
        " " * 40,
        "password",
        "12345678",
        "short words",
        "   eleven car   ",
        "aaaaaaaaaaaaaaaa",
        "abababababababab",
        "password1234",
        "Password12345!",
        "P@ssw0rd!P@ssw0rd!",
        "passwordpassword",
        "qwertyuiopasdf",
        "qwertz123456789",
        "1qaz2wsx3edc4rfv",
        "123456789012345",
        "98765432109876",
        "abcdefghijklmnop",
        "letmein2024letmein",
        "welcome to the shop",
        "Summer2024!!!!",
        "ben ben ben ben",
        "benbenbenben",
        "dilan.reyes.2024",
        "REYESdilan12345",
        "kq7fkq7fkq7fkq7f",
        "x" * 2000,
    ],
)
def test_what_is_guessed_first_is_refused(password: str) -> None:
    for name in ("ben", "dilan.reyes", "dilan reyes"):
        if name == "ben" and "eyes" in password.lower():
            continue
        if name != "ben" and password.startswith("ben"):
            continue
        with pytest.raises(UsageError) as refused:
            check(password, name=name)
        assert refused.value.code == "bad_password"


@pytest.mark.parametrize(
    "password",
    [
        "correct horse",
        "stockroom demo",
        "q3Xz-18_Kd9wLm2p",
        "violet tractor lamp",
        "\u043f\u0430\u0440\u0443\u0441 \u043c\u043e\u0440\u043e\u0437 \u043b\u0443\u043d\u0430",
        "\u9752\u7a7a\u3068\u6d77\u306e\u8272\u3092\u899a\u3048\u3066\u3044\u308b",
        "8402917365184",
        "Ben likes turnips",
    ],
)
def test_others_are_taken(password: str) -> None:
    check(password, name="ben")
    check(password)
