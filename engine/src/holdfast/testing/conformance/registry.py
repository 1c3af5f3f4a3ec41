"""Conformance of the registry of a server store; part of the suite for stores.

Knows: the contract in ``server.store.registry``. Must not know: which database is behind it.
Needs pytest.

Checks I17, I26.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import TypeVar

import pytest

from holdfast.server.store.contract import ReplicaRecord, Store, Writer
from holdfast.server.store.registry import (
    Code,
    DeviceReport,
    Registration,
    RegistryReads,
    RegistryWrites,
    ReplicaReport,
    TokenRecord,
    User,
)

T = TypeVar("T")

ANN = User("ann", ("catalog",), ("store/1", "till/*"), ("manager",), "$argon2id$x", created=5)
BOB = User('b"o\\b, Ünïcøde \U0001f4e6', ("*",), created=6)
TILL = Registration("till", "ann", "Till 1", created=7)


def _look(store: Store, question: Callable[[RegistryReads], T]) -> T:
    with closing(store.read()) as snapshot:
        return question(snapshot.registry)


def _write(store: Store, work: Callable[[RegistryWrites], T]) -> T:
    return store.transact(lambda writer: work(writer.registry))


class RegistryConformance:
    """The suite; mixed into ``StoreConformance``, which has the fixture ``store``."""

    def test_users_come_back_as_they_were(self, store: Store) -> None:
        def work(registry: RegistryWrites) -> None:
            assert registry.user("ann") is None
            for user in (BOB, replace(ANN, write=(), disabled=True, password=None), ANN):
                registry.put_user(user)
            assert registry.user("ann") == ANN

        _write(store, work)
        assert _look(store, lambda r: r.user(BOB.name)) == BOB
        for absent in ("", "Ann", "ann\0", "none"):
            assert _look(store, lambda r, name=absent: r.user(name)) is None  # type: ignore[misc]
        assert _look(store, lambda r: r.users(after="", limit=5)) == [ANN, BOB]
        assert _look(store, lambda r: r.users(after="ann", limit=5)) == [BOB]
        assert _look(store, lambda r: r.users(after="", limit=1)) == [ANN]
        _write(store, lambda r: r.put_user(replace(ANN, disabled=True, created=99)))
        changed = _look(store, lambda r: r.user("ann"))
        assert changed == replace(ANN, disabled=True), "the time it was made stays"

    def test_which_tokens_there_are(self, store: Store) -> None:
        one, two, none = b"1" * 32, b"\0\xff" * 16, b"3" * 32

        def work(registry: RegistryWrites) -> None:
            registry.put_user(ANN)
            registry.put_registration(TILL)
            registry.put_token(TokenRecord(one, "till", 1, 10))
            registry.put_token(TokenRecord(two, "till", 2, 10))

        _write(store, work)
        assert _look(store, lambda r: r.tokens([none, two, one])) == {one, two}
        _write(store, lambda r: r.drop_token(one))
        assert _look(store, lambda r: r.tokens([one, two])) == {two}
        assert _look(store, lambda r: r.tokens([])) == set()

    def test_who_stands(self, store: Store) -> None:
        def work(registry: RegistryWrites) -> None:
            registry.put_user(ANN)
            registry.put_user(replace(BOB, disabled=True))
            registry.put_registration(TILL)
            registry.put_registration(Registration("gone", "ann", revoked=9))
            registry.put_registration(Registration("bobs", BOB.name))
            registry.put_registration(Registration("orphan", "nobody"))
            assert registry.standing(["till", "gone"]) == {"till": ANN}

        _write(store, work)
        asked = ["till", "gone", "bobs", "orphan", "none", "till"]
        assert _look(store, lambda r: r.standing(asked)) == {"till": ANN}
        assert _look(store, lambda r: r.standing([])) == {}
        assert _look(store, lambda r: r.registration("till")) == TILL
        assert _look(store, lambda r: r.registration("till\0")) is None
        _write(store, lambda r: r.put_registration(replace(TILL, name="T", revoked=8, created=1)))
        changed = _look(store, lambda r: r.registration("till"))
        assert changed == replace(TILL, name="T", revoked=8)
        assert _look(store, lambda r: r.standing(["till"])) == {}

    def test_tokens(self, store: Store) -> None:
        first = TokenRecord(b"\x00" * 32, "till", 1, 100)
        second, other = (
            TokenRecord(b"\xff" * 32, "till", 2, 2**52, used=True),
            TokenRecord(b"o", "other", 1, 1),
        )

        def work(registry: RegistryWrites) -> None:
            for token in (first, second, other):
                registry.put_token(token)
            registry.put_token(replace(first, ends=50, used=True))
            assert registry.token(first.hash) == replace(first, ends=50, used=True)
            assert registry.newest_token("till") == second
            assert registry.newest_token("none") is None

        _write(store, work)
        assert _look(store, lambda r: r.token(second.hash)) == second
        assert _look(store, lambda r: r.token(b"none")) is None
        _write(store, lambda r: r.drop_tokens("till", below=2))
        assert _look(store, lambda r: (r.token(first.hash), r.token(second.hash))) == (None, second)
        _write(store, lambda r: r.drop_token(second.hash))
        _write(store, lambda r: r.drop_tokens("other"))
        assert _look(store, lambda r: (r.token(second.hash), r.token(other.hash))) == (None, None)

    def test_who_bears_a_token(self, store: Store) -> None:
        token = TokenRecord(b"h" * 32, "till", 3, 100, used=True)

        def begin(registry: RegistryWrites) -> None:
            registry.put_user(ANN)
            registry.put_token(token)

        def bearer() -> tuple[TokenRecord, User] | None:
            return _look(store, lambda r: r.bearer(token.hash))

        _write(store, begin)
        assert bearer() is None
        _write(store, lambda r: r.put_registration(TILL))
        assert bearer() == (token, ANN)
        assert _look(store, lambda r: r.bearer(b"none")) is None
        _write(store, lambda r: r.put_user(replace(ANN, disabled=True)))
        assert bearer() is None
        _write(store, lambda r: r.put_user(ANN))
        _write(store, lambda r: r.put_registration(replace(TILL, revoked=1)))
        assert bearer() is None

    def test_codes(self, store: Store) -> None:
        code = Code(b"\x01" * 32, "ann", 100)

        def work(registry: RegistryWrites) -> None:
            registry.put_code(code)
            registry.put_code(Code(b"2", "ann", 50, "till"))
            assert registry.code(code.hash) == code
            assert (registry.count_codes("ann"), registry.count_codes("bob")) == (2, 0)
            registry.put_code(replace(code, device="new", attempt=b"a"))
            assert registry.count_codes("ann") == 1
            registry.drop_codes(expired=100)
            assert registry.code(b"2") is None
            assert registry.code(code.hash) == replace(code, device="new", attempt=b"a")
            registry.drop_codes(expired=101)
            assert registry.code(code.hash) is None
            used = Code(b"3", "ann", 100, "till", b"a")
            for made in (used, Code(b"4", "ann", 100, "till"), Code(b"5", "ann", 100, "other")):
                registry.put_code(made)
            for device in ("till", "none", "till\0"):
                registry.drop_codes_for(device)
            assert registry.code(b"4") is None
            assert registry.code(b"3") == used
            assert registry.code(b"5") is not None

        _write(store, work)

    def test_the_list_of_devices(self, store: Store) -> None:
        older = ReplicaRecord(
            "copy", "till", "ann", "n", 3, 2, 50, -7, 12, 40, "holdfast 1", place=2, origin="till"
        )

        def work(writer: Writer) -> None:
            writer.registry.put_user(ANN)
            writer.registry.put_registration(TILL)
            writer.registry.put_registration(Registration("new", "bob", "N", 3, 4))
            writer.put_replica(replace(older, replica="till", nonce="o", last_seen=40, place=1))
            writer.put_replica(older)
            writer.put_replica(ReplicaRecord("file", "file", "bob", last_seen=60))

        store.transact(work)
        assert store.transact(lambda writer: writer.replica("copy")) == older
        both = ReplicaReport("copy", "till", 50, 12), ReplicaReport("till", "till", 40, 12)
        till = DeviceReport("till", "ann", "Till 1", True, 7, 0, 50, 12, 40, "holdfast 1", -7, both)
        alone = (ReplicaReport("file", "", 60, 0),)
        by_file = DeviceReport("file", "bob", "", False, 0, 0, 60, 0, None, "", 0, alone)
        new = DeviceReport("new", "bob", "N", True, 3, 4, 0, 0, None, "", 0)

        def listed(user: str = "", after: str = "", limit: int = 9) -> list[DeviceReport]:
            return _look(store, lambda r: r.devices(user=user, after=after, limit=limit))

        assert listed() == [by_file, new, till]
        assert listed(user="bob") == [by_file, new]
        assert listed(after="file", limit=1) == [new]
        assert listed(user="bob\0") == []

    def test_the_generation_grows_with_its_commit(self, store: Store) -> None:
        before = _look(store, lambda r: r.generation())
        assert _write(store, lambda r: r.move_generation()) == before + 1

        def fails(registry: RegistryWrites) -> None:
            registry.move_generation()
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            _write(store, fails)
        assert _look(store, lambda r: r.generation()) == before + 1

    def test_what_a_writer_has_read_of_a_device_stays_so_until_its_commit(
        self, store: Store
    ) -> None:
        """A revocation waits for the push, or the push sees it; never neither."""

        def begin(registry: RegistryWrites) -> None:
            registry.put_user(ANN)
            registry.put_registration(TILL)

        _write(store, begin)
        order: list[str] = []
        looked = threading.Event()

        def push(writer: Writer) -> None:
            assert writer.registry.standing(["till"]) == {"till": ANN}
            looked.set()
            assert not revoked.wait(0.3), "the revocation has not waited"
            order.append("push")

        revoked = threading.Event()

        def revoke() -> None:
            assert looked.wait(20)
            _write(store, lambda r: r.put_registration(replace(TILL, revoked=1)))
            order.append("revoked")
            revoked.set()

        thread = threading.Thread(target=revoke)
        thread.start()
        store.transact(push)
        thread.join(20)
        assert order == ["push", "revoked"]
        assert _write(store, lambda r: r.standing(["till"])) == {}
