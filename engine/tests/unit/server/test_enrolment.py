"""Devices come to their tokens, keep them, and lose them; on both stores.

Checks I26.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from holdfast.core.enrolment_codes import new_code, new_token
from holdfast.core.errors import ProtocolError, UsageError
from holdfast.core.limits import (
    CLOCK_LEEWAY_MS,
    CODE_MINUTES,
    CODES_PER_USER_MAX,
    ENROL_KNOCKS_BURST,
    ENROL_NAME_TRIES_BURST,
    ENROL_NAME_TRY_EVERY_MS,
    ENROL_TRIES_BURST,
    REFRESH_TRIES_BURST,
    TOKEN_DAYS,
    TOKEN_GRACE_DAYS,
)
from holdfast.protocol.enrolment import Enrolled, EnrolRequest
from holdfast.server.identity.device_auth import RegistryAuthenticator
from holdfast.server.identity.enrolment import EnrolmentService
from holdfast.server.identity.people import People
from holdfast.server.identity.principal import Principal
from holdfast.server.identity.sign_in_attempts import Attempts
from holdfast.server.service import Service
from holdfast.server.store.registry import RIGHTS
from holdfast.testing import wait_until

DAY_S = 86_400


@dataclass
class Office:
    """A server's people, and the ways in."""

    server: Any
    moved: list[dict[str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        store, now_us = self.server.store, self.server.tick
        draw = secrets.token_bytes
        self.people = People(
            store, now_us=now_us, random_bytes=draw, on_commit=lambda m: self.moved.append(dict(m))
        )
        self.enrolment = EnrolmentService(
            store, now_us=now_us, random_bytes=draw, monotonic_ms=lambda: self.server.now // 1000
        )
        self.auth = RegistryAuthenticator(store, now_us=now_us)
        self.service = Service(
            self.server.schema, store, now_us=now_us, random_bytes=self.server.random,
            standing=self.auth.standing,
        ).begin()  # fmt: skip

    def code(self, user: str = "ann", **options: Any) -> str:
        return self.people.invite(user, **options).code

    def enrol(self, code: str, *, address: str = "", **fields: Any) -> Enrolled:
        return self.enrolment.with_code(EnrolRequest(protocol=1, code=code, **fields), address)

    def sign_in(self, user: str, password: str, *, address: str = "", **fields: Any) -> Enrolled:
        asked = EnrolRequest(protocol=1, user=user, password=password, **fields)
        return self.enrolment.with_password(asked, address)

    def who(self, token: str) -> Principal:
        return self.auth({"authorization": f"Bearer {token}"})

    def lets_in(self, token: str) -> bool:
        try:
            self.who(token)
        except ProtocolError as error:
            if (error.status, error.code) != (401, "sign_in"):
                raise
            return False
        return True

    def peer(self, token: str) -> Any:
        """A device on the service that asks the registry."""
        made = self.server.peer()
        made.server = self
        made.principal = self.who(token)
        return made

    def __getattr__(self, name: str) -> Any:
        return getattr(self.server, name)


@pytest.fixture
def office(server: Any) -> Office:
    made = Office(server)
    made.people.add_user("ann", read=["catalog"], write=["store/1"], roles=["manager"])
    made.people.add_user("bob", write=["*"], password="correct horse")
    return made


def refused(call: Callable[[], object], code: str = "enrol_refused", status: int = 401) -> str:
    with pytest.raises(ProtocolError) as caught:
        call()
    assert (caught.value.code, caught.value.status) == (code, status)
    return str(caught.value)


def same(one: Principal, other: Principal) -> bool:
    return one == other


# --- codes ---------------------------------------------------------------------------------------


def test_a_code_lets_one_device_in_once(office: Office) -> None:
    code = office.code()
    done = office.enrol(code.lower().replace("-", " "), name="Till 1")
    principal = office.who(done.token)
    assert principal == Principal(
        "ann", done.device, ("catalog",), ("store/1",), ("manager",), registered=True
    )
    refused(lambda: office.enrol(code))
    (listed,) = office.people.devices()
    assert (listed.device, listed.user, listed.name) == (done.device, "ann", "Till 1")
    assert (listed.registered, listed.revoked, listed.last_seen) == (True, 0, 0)


def test_no_secret_is_stored_or_shown(office: Office) -> None:
    code = office.code()
    done = office.enrol(code)
    tables = ("holdfast_token", "holdfast_enrolment", "holdfast_user", "holdfast_registration")
    stored = repr([office.query(f"SELECT * FROM {table}") for table in tables])
    for secret in (code, code.replace("-", ""), done.token, "correct horse"):
        assert secret not in stored
    asked = EnrolRequest(protocol=1, code=code, password="geheim", attempt="attempt1")
    shown = repr(done) + repr(asked) + repr(office.people.invite("ann"))
    assert code not in shown
    assert done.token not in shown
    assert "geheim" not in shown
    assert "argon2" not in repr(list(office.people.users()))


def test_what_is_no_code_is_refused_in_the_same_words(office: Office) -> None:
    office.people.add_user("eve")
    over, disabled, used = office.code(minutes=1), office.code("eve"), office.code()
    office.enrol(used)
    office.people.set_user("eve", disabled=True)
    office.pass_time(61)
    never = new_code(secrets.token_bytes)
    words = {
        refused(lambda code=code: office.enrol(code))  # type: ignore[misc]
        for code in (over, disabled, used, never, "", "x", "\0" * 14, "Ä" * 64, "💥")
    }
    assert len(words) == 1
    with pytest.raises(UsageError):
        office.code("eve")


def test_a_lost_answer_is_given_again_until_the_token_is_used(office: Office) -> None:
    code = office.code()
    lost = office.enrol(code, attempt="attempt-1")
    refused(lambda: office.enrol(code, attempt="attempt-2"))
    refused(lambda: office.enrol(code))
    again = office.enrol(code, attempt="attempt-1")
    assert again.device == lost.device
    assert not office.lets_in(lost.token)
    assert office.lets_in(again.token)
    refused(lambda: office.enrol(code, attempt="attempt-1"))
    assert len(list(office.people.devices())) == 1


def test_a_lost_answer_is_not_given_after_the_code_is_over(office: Office) -> None:
    code = office.code()
    office.enrol(code, attempt="attempt-1")
    office.pass_time(CODE_MINUTES * 60)
    refused(lambda: office.enrol(code, attempt="attempt-1"))


def test_so_many_codes_wait_for_a_user(office: Office) -> None:
    for _ in range(CODES_PER_USER_MAX):
        office.code()
    with pytest.raises(UsageError) as caught:
        office.code()
    assert caught.value.code == "too_many_codes"
    office.code("bob")
    office.pass_time(CODE_MINUTES * 60 + 1)
    office.code()


# --- the same device again ------------------------------------------------------------------------


def test_the_same_device_enrols_again_and_stands(office: Office) -> None:
    first = office.enrol(office.code(), name="Till")
    assert office.lets_in(first.token)
    office.people.revoke(first.device)
    assert not office.lets_in(first.token)
    again = office.enrol(office.code(device=first.device), device=first.device)
    assert again.device == first.device
    assert office.lets_in(again.token)
    assert not office.lets_in(first.token)
    (listed,) = office.people.devices()
    assert (listed.name, listed.revoked) == ("Till", 0)


def test_nobody_becomes_a_device_of_somebody_else(office: Office) -> None:
    anns = office.enrol(office.code())
    words = set()
    for device in (anns.device, "unknown", "\0"):
        code = office.code("bob")
        words.add(refused(lambda: office.enrol(code, device=device), "wrong_device", 403))  # noqa: B023
        words.add(
            refused(
                lambda: office.sign_in("bob", "correct horse", device=device),  # noqa: B023
                "wrong_device",
                403,
            )
        )
        office.enrol(code)  # the refusal has not used it up
    assert len(words) == 1
    bound = office.code(device=anns.device)
    refused(lambda: office.enrol(bound), "wrong_device", 403)
    with pytest.raises(UsageError) as caught:
        office.code("bob", device=anns.device)
    assert caught.value.code == "unknown_device"
    assert office.lets_in(anns.token)


def test_a_device_that_the_server_has_lost_is_let_in_by_its_user(office: Office) -> None:
    """The server was put back to before the device came, or another one takes its place."""
    lost = "01890a5d-ac96-774b-bcce-b302099a8057"
    first = office.sign_in("bob", "correct horse", device=lost, name="Till")
    assert first.device == lost
    assert office.lets_in(first.token)
    assert [(d.device, d.user, d.name) for d in office.people.devices()] == [(lost, "bob", "Till")]
    refused(lambda: office.enrol(office.code(), device=lost), "wrong_device", 403)
    other = lost.replace("0189", "0190")
    assert office.enrol(office.code(), device=other).device == other
    office.people.revoke(lost)
    refused(lambda: office.sign_in("bob", "correct horse", device=lost), "device_revoked", 403)


def test_a_device_of_a_token_file_is_taken_along(office: Office) -> None:
    peer = office.server.peer("till-9", user="ann", read=("catalog",))
    peer.sync()
    refused(lambda: office.enrol(office.code("bob"), device="till-9"), "wrong_device", 403)
    assert [d.registered for d in office.people.devices(user="ann")] == [False]
    done = office.enrol(office.code(), device="till-9")
    assert done.device == "till-9"
    peer.principal = office.who(done.token)
    peer.server = office
    peer.sync()


# --- passwords and the app's own sign-in ----------------------------------------------------------


def test_a_password_lets_a_user_in(office: Office) -> None:
    done = office.sign_in("bob", "correct horse", attempt="attempt-1")
    again = office.sign_in("bob", "correct horse", attempt="attempt-1")
    assert again.device == done.device
    assert office.who(again.token).user == "bob"
    assert not office.lets_in(done.token)
    refused(lambda: office.sign_in("bob", "correct horse", attempt="attempt-1"))
    other = office.sign_in("bob", "correct horse", attempt="attempt-2")
    assert other.device != done.device


def test_who_is_not_let_in_learns_nothing(office: Office) -> None:
    office.people.add_user("eve", password="correct horse")
    office.people.set_user("eve", disabled=True)
    tries = [("bob", "wrong"), ("bob", ""), ("ann", "x"), ("ann", ""), ("nobody", "x"),
             ("eve", "correct horse"), ("b\0b", "x"), ("bob", "\ud800"), ("", "x")]  # fmt: skip
    words = {refused(lambda t=t: office.sign_in(*t)) for t in tries}  # type: ignore[misc]
    assert len(words) == 1
    office.people.set_password("bob", "another one entirely")
    refused(lambda: office.sign_in("bob", "correct horse"))
    office.people.set_password("bob", None)
    refused(lambda: office.sign_in("bob", "another one entirely"))
    with pytest.raises(UsageError) as caught:
        office.people.set_password("bob", "short")
    assert caught.value.code == "bad_password"


def test_the_apps_own_sign_in_enrols(office: Office) -> None:
    asked = EnrolRequest(protocol=1)
    carol = Principal("carol", "", read=("catalog",), roles=("clerk",))
    done = office.enrolment.signed_in(carol, asked)
    assert same(
        office.who(done.token),
        Principal("carol", done.device, ("catalog",), (), ("clerk",), registered=True),
    )
    # From now on the registry says what the user may do.
    office.people.set_user("carol", read=["store/*"])
    office.enrolment.signed_in(carol, asked)
    assert office.who(done.token).read == ("store/*",)
    office.people.set_user("carol", disabled=True)
    refused(lambda: office.enrolment.signed_in(carol, asked))
    nobody = Principal("a\nb", "")
    refused(lambda: office.enrolment.signed_in(nobody, asked), "bad_name", 400)


# --- refreshing -----------------------------------------------------------------------------------


def test_the_old_token_is_good_until_the_new_one_is_used(office: Office) -> None:
    old = office.enrol(office.code())
    new = office.enrolment.refresh(old.token)
    assert new.device == old.device
    assert office.lets_in(old.token)
    assert office.lets_in(new.token)
    assert not office.lets_in(old.token)
    refused(lambda: office.enrolment.refresh(old.token), "sign_in")


def test_a_lost_answer_is_refreshed_again(office: Office) -> None:
    old = office.enrol(office.code())
    lost = office.enrolment.refresh(old.token)
    new = office.enrolment.refresh(old.token)
    assert not office.lets_in(lost.token)
    assert office.lets_in(old.token)
    assert office.lets_in(new.token)
    assert not office.lets_in(old.token)
    newer = office.enrolment.refresh(new.token)
    assert office.lets_in(newer.token)


def test_the_time_of_grace_ends(office: Office) -> None:
    old = office.enrol(office.code())
    new = office.enrolment.refresh(old.token)
    office.pass_time(TOKEN_GRACE_DAYS * DAY_S - 60)
    assert office.lets_in(old.token)
    office.pass_time(60 + CLOCK_LEEWAY_MS / 1000 + 1)
    assert not office.lets_in(old.token)
    refused(lambda: office.enrolment.refresh(old.token), "sign_in")
    assert office.lets_in(new.token)


def test_refreshing_does_not_prolong_the_old_token(office: Office) -> None:
    old = office.enrol(office.code())
    office.pass_time((TOKEN_DAYS - 1) * DAY_S)
    new = office.enrolment.refresh(old.token)
    office.pass_time(DAY_S + CLOCK_LEEWAY_MS / 1000 + 1)
    assert not office.lets_in(old.token)
    assert office.lets_in(new.token)


def test_who_stands_no_more_refreshes_nothing(office: Office) -> None:
    one, two = office.enrol(office.code()), office.enrol(office.code())
    office.people.revoke(one.device)
    refused(lambda: office.enrolment.refresh(one.token), "sign_in")
    office.people.set_user("ann", disabled=True)
    refused(lambda: office.enrolment.refresh(two.token), "sign_in")
    for text in (new_token(secrets.token_bytes), "", "hft_", "hft_\0", "x" * 10_000):
        refused(lambda text=text: office.enrolment.refresh(text), "sign_in")  # type: ignore[misc]
        assert not office.lets_in(text)
    office.people.set_user("ann", disabled=False)
    assert office.lets_in(two.token)


# --- rates ----------------------------------------------------------------------------------------


def test_tries_are_counted_by_address_name_and_device(office: Office) -> None:
    for _ in range(ENROL_KNOCKS_BURST):
        office.enrolment.admit("192.0.2.1")
    refused(lambda: office.enrolment.admit("192.0.2.1"), "too_many_tries", 429)
    office.enrolment.admit("192.0.2.2")

    code = office.code()
    done = office.enrol(code)
    for _ in range(ENROL_NAME_TRIES_BURST):
        refused(lambda: office.enrol(code))
    refused(lambda: office.enrol(code), "too_many_tries", 429)

    for number in range(ENROL_TRIES_BURST):
        refused(lambda n=number: office.enrol(f"wrong {n}", address="192.0.2.3"))  # type: ignore[misc]  # it binds the name
    for wrong in (
        lambda: office.enrol("wrong", address="192.0.2.3"),
        lambda: office.sign_in("another", "guess", address="192.0.2.3"),
    ):
        refused(wrong, "too_many_tries", 429)
    assert office.lets_in(done.token), "wrong tries lock out who has a token"
    office.enrol(office.code())

    token = done.token
    for _ in range(REFRESH_TRIES_BURST):
        office.enrolment.refresh(token)
    refused(lambda: office.enrolment.refresh(token), "too_many_tries", 429)
    assert office.lets_in(token)


def test_strangers_lock_nobody_out(office: Office) -> None:
    """Failures count where they were made; what is right costs nothing."""
    for _ in range(ENROL_NAME_TRIES_BURST):
        refused(lambda: office.sign_in("bob", "guess", address="192.0.2.9"))
    wrong = lambda: office.sign_in("bob", "guess", address="192.0.2.9")  # noqa: E731
    refused(wrong, "too_many_tries", 429)

    def right(**where: Any) -> Any:
        return office.sign_in("bob", "correct horse", **where)

    refused(lambda: right(address="192.0.2.9"), "too_many_tries", 429)
    for _ in range(ENROL_NAME_TRIES_BURST + 1):
        right(address="192.0.2.7")
    done = right(address="192.0.2.7")
    # On a device of his own he is no stranger, not even beside the stranger; somebody else's
    # device, or one that was revoked, is nobody's word.
    assert right(address="192.0.2.9", device=done.device).device == done.device
    anns = office.enrol(office.code())
    office.people.revoke(done.device)
    for device in (anns.device, done.device, "none", "a\0b"):
        refused(lambda d=device: right(address="192.0.2.9", device=d), "too_many_tries", 429)  # type: ignore[misc]  # it binds the name
    office.server.pass_time(ENROL_NAME_TRY_EVERY_MS / 1000)
    refused(wrong)  # one more, and no more than one
    refused(wrong, "too_many_tries", 429)


def test_many_hands_are_counted_together_and_keep_out_strangers_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("holdfast.server.identity.sign_in_attempts.ENROL_ANYWHERE_TRIES_BURST", 30)
    attempts = Attempts()

    def fails(address: str, name: str = "bob", device: str = "") -> int:
        with pytest.raises(ProtocolError) as caught, attempts.of_name(name, address, device=device):
            raise ProtocolError("no", code="enrol_refused", status=401)
        return caught.value.status

    with attempts.of_name("bob", "192.0.2.1"):
        pass
    assert [fails(f"198.51.100.{n}") for n in range(30)] == [401] * 30
    assert fails("203.0.113.1") == 429
    assert fails("203.0.113.1", name="ann") == 401
    with attempts.of_name("bob", "192.0.2.1"):
        pass  # from where he has signed in before
    with attempts.of_name("bob", "203.0.113.1", device="till-1"):
        pass  # on what is his
    assert [fails("192.0.2.1") for _ in range(11)] == [401] * 10 + [429]


def test_a_user_has_so_many_devices(office: Office) -> None:
    office.enrolment._devices_max = 2
    first = office.enrol(office.code())
    office.enrol(office.code())
    refused(lambda: office.enrol(office.code()), "too_many_devices", 403)
    assert office.enrol(office.code(), device=first.device).device == first.device
    office.sign_in("bob", "correct horse")
    office.people.revoke(first.device)
    office.enrol(office.code())


def test_a_new_password_signs_devices_out(office: Office) -> None:
    one, two = (office.sign_in("bob", "correct horse") for _ in range(2))
    anns = office.enrol(office.code())
    office.people.set_password("bob", "violet tractor", keep_devices=True)
    assert office.lets_in(one.token) and office.lets_in(two.token)
    office.people.set_password("bob", "lamp tractor violet")
    assert not office.lets_in(one.token) and not office.lets_in(two.token)
    assert office.lets_in(anns.token)
    assert office.moved[-1]  # open streams hear of it
    again = office.sign_in("bob", "lamp tractor violet", device=one.device)
    assert again.device == one.device


def test_a_person_changes_their_own_password(office: Office) -> None:
    one, two = (office.sign_in("bob", "correct horse") for _ in range(2))
    me = office.who(one.token)
    change = office.people.change_password
    refused(lambda: change(me, "not it", "violet tractor"), "wrong_password", 403)
    with pytest.raises(UsageError) as weak:
        change(me, "correct horse", "bob bob bob bob")
    assert weak.value.code == "bad_password"
    assert office.lets_in(two.token)
    change(me, "correct horse", "violet tractor")
    assert office.lets_in(one.token), "the device it was changed on"
    assert not office.lets_in(two.token)
    refused(lambda: office.sign_in("bob", "correct horse"))
    office.sign_in("bob", "violet tractor", device=two.device)
    anns = office.who(office.enrol(office.code()).token)
    refused(lambda: change(anns, "", "violet tractor"), "wrong_password", 403)
    office.people.revoke(one.device)
    refused(lambda: change(me, "violet tractor", "lamp and tractor"), "sign_in", 401)


# --- rights, in the transaction that uses them ----------------------------------------------------


def test_a_device_that_was_revoked_gets_and_changes_nothing(office: Office) -> None:
    done = office.enrol(office.code("bob"))
    peer = office.peer(done.token)
    peer.insert("product", "p1", sku="a")
    peer.sync()
    before = office.query("SELECT * FROM product"), office.query("SELECT * FROM holdfast_replica")
    office.people.revoke(done.device)
    peer.insert("product", "p2", sku="b")
    for attempt in (peer.sync, peer.verify, lambda: office.service.heads(peer.principal),
                    lambda: office.service.journal(peer.principal)):  # fmt: skip
        refused(attempt, "sign_in")
    after = office.query("SELECT * FROM product"), office.query("SELECT * FROM holdfast_replica")
    assert after == before
    for way in (
        lambda: office.enrol(office.code("bob"), device=done.device),
        lambda: office.sign_in("bob", "correct horse", device=done.device),
        lambda: office.enrolment.signed_in(
            Principal("bob", "", write=("*",)), EnrolRequest(protocol=1, device=done.device)
        ),
    ):
        refused(way, "device_revoked", 403)
    assert office.sign_in("bob", "correct horse").device != done.device
    again = office.enrol(office.code("bob", device=done.device), device=done.device)
    peer.principal = office.who(again.token)
    peer.sync()
    assert len(office.query("SELECT * FROM product")) == 2


def test_a_code_that_waits_for_a_device_does_not_outlive_its_revocation(office: Office) -> None:
    done = office.enrol(office.code("bob"))
    one, two = (office.people.invite("bob", device=done.device).code for _ in range(2))
    other = office.enrol(office.code("bob"))
    kept = office.people.invite("bob", device=other.device).code
    office.people.revoke(done.device)
    refused(lambda: office.enrol(one, device=done.device), "enrol_refused")
    assert office.enrol(kept, device=other.device).device == other.device
    office.people.revoke_user("bob")
    refused(lambda: office.enrol(two, device=done.device), "enrol_refused")
    again = office.people.invite("bob", device=done.device).code
    assert office.enrol(again, device=done.device).device == done.device


def test_rights_are_those_of_the_moment(office: Office) -> None:
    done = office.enrol(office.code("bob"))
    peer = office.peer(done.token)
    peer.insert("product", "p1", sku="a")
    peer.sync()
    office.people.set_user("bob", write=[], read=["catalog"])
    peer.insert("product", "p2", sku="b")
    (outcome,) = peer.sync()  # with the principal of before
    assert (outcome.outcome, outcome.code) == ("refused", "forbidden")
    assert list(peer.grants) == ["catalog"]
    office.people.set_user("bob", read=["store/*"])
    peer.sync()
    assert peer.grants == {}
    assert peer.rows == {}
    office.people.set_user("bob", disabled=True)
    refused(peer.sync, "sign_in")


def test_what_changes_rights_is_told(office: Office) -> None:
    done = office.enrol(office.code())
    office.moved.clear()
    office.people.set_user("ann", read=["x"])
    office.people.revoke(done.device)
    office.people.revoke_user("ann")
    told = [moved[RIGHTS] for moved in office.moved]
    assert len(told) == 2
    assert told == sorted(set(told))
    for wrong in (lambda: office.people.revoke("none"), lambda: office.people.revoke_user("none"),
                  lambda: office.people.set_user("none"), lambda: office.people.add_user("ann"),
                  lambda: office.people.add_user(" x"), lambda: office.people.add_user("\ud800"),
                  lambda: office.people.set_user("ann", read=["a\0"])):  # fmt: skip
        with pytest.raises(UsageError):
            wrong()
    assert len(office.moved) == 2


def test_what_a_device_tells_of_itself_is_listed(office: Office) -> None:
    from holdfast.protocol.messages import Report

    done = office.enrol(office.code("bob"), name="Handheld")
    peer = office.peer(done.token)
    peer.sync(report=Report(3, 77, "test 1"))
    (listed,) = office.people.devices(user="bob")
    assert (listed.waiting, listed.oldest_us, listed.client) == (3, 77, "test 1")
    assert listed.last_seen == office.query("SELECT last_seen FROM holdfast_replica")[0][0]
    peer.sync()  # an older client, which tells nothing
    (listed,) = office.people.devices(user="bob")
    assert (listed.waiting, listed.client) == (3, "test 1")
    peer.sync(report=Report(0, None, "test 2"))
    (listed,) = office.people.devices(user="bob")
    assert (listed.waiting, listed.oldest_us, listed.client) == (0, None, "test 2")


def test_who_signs_out_with_a_token_that_never_was_writes_nothing(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(_work: Any) -> None:
        raise AssertionError("a stranger got a write transaction")

    monkeypatch.setattr(office.server.store, "transact", write)
    refused(lambda: office.enrolment.sign_out(new_token(secrets.token_bytes)), "sign_in")


@pytest.mark.parametrize("what", ["refresh", "push"])
def test_user_before_device_is_the_order_of_all(
    office: Office, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Who enrols a device again meets its refresh, or its push, and neither has to begin again."""
    if not office.postgres:
        return  # one writer at a time: nobody meets anybody
    done = office.enrol(office.code("bob"))
    peer = office.peer(done.token)
    peer.sync()
    peer.insert("product", "p", sku="s")
    act = peer.sync if what == "push" else lambda: office.enrolment.refresh(done.token)
    thread = threading.Thread(target=act)
    begun: list[object] = []
    transact = office.server.store.transact

    def counted(work: Callable[[Any], Any], **more: Any) -> Any:
        def told(writer: Any) -> Any:
            begun.append(work)
            return work(writer)

        return transact(told, **more)

    def work(writer: Any) -> None:
        writer.registry.user("bob")
        if not thread.ident:
            thread.start()
            wait_until(
                lambda: office.query(
                    "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
                    "AND datname = current_database()"
                ),
                what="the other one to wait for the user",
            )
        writer.registry.registration(done.device)

    monkeypatch.setattr(office.server.store, "transact", counted)
    office.server.store.transact(work)
    thread.join(30)
    assert not thread.is_alive()
    assert len(begun) == 2, "the database had to end a deadlock"
