"""Pull: complete up to the heads, each row once, and only with evidence that fits.

Checks I10, I11, I16.
"""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest

from holdfast.core.digest import Digest, seal
from holdfast.core.errors import DatabaseError, ProtocolError, SchemaError
from holdfast.core.limits import ROWS_PER_LINE, SEEN_INTERVAL_MS
from holdfast.protocol.messages import Checkpoint, Head, Nonces, Position, Rows
from holdfast.schema.model import Check, Column, Schema


def fill(peer: Any, count: int) -> None:
    peer.commit(
        *(peer.change("insert", "product", f"p{i}", {"sku": f"s{i}"}) for i in range(count))
    )
    peer.sync()


def test_a_large_pull_comes_in_pieces(server: Any) -> None:
    one, two = server.peer("d1"), server.peer("d2")
    fill(one, 3 * ROWS_PER_LINE + 7)
    lines = list(server.service.exchange(two.principal, two.request(), echo="e"))
    sizes = [len(line.rows) for line in lines if isinstance(line, Rows)]
    assert sizes == [ROWS_PER_LINE] * 3 + [7]
    two.apply(lines)
    assert len(two.rows) == 3 * ROWS_PER_LINE + 7


def test_a_line_of_large_rows_is_closed_early(server: Any) -> None:
    one, two = server.peer("d1"), server.peer("d2")
    for index in range(4):
        one.insert("product", f"p{index}", sku=f"s{index}", note="x" * 700_000)
    one.sync()
    lines = list(server.service.exchange(two.principal, two.request(), echo="e"))
    assert [len(line.rows) for line in lines if isinstance(line, Rows)] == [2, 2]


def test_only_what_changed_is_sent(server: Any) -> None:
    one, two = server.peer("d1"), server.peer("d2")
    fill(one, 50)
    two.sync()
    one.update("product", "p7", name="n")
    one.delete("product", "p8")
    one.sync()
    two.sync()
    assert two.last_rows == [("product", "p7")]
    assert two.last_gone == [("product", "p8")]
    two.sync()
    assert two.last_rows == two.last_gone == []


def test_a_new_device_is_told_of_no_removals(server: Any) -> None:
    one, two = server.peer("d1"), server.peer("d2")
    fill(one, 3)
    one.delete("product", "p1")
    one.sync()
    two.sync()
    assert two.last_gone == []
    assert len(two.rows) == 2


def test_an_answer_is_one_moment(server: Any) -> None:
    """What is committed while an answer is read is not in it."""
    one, two = server.peer("d1"), server.peer("d2")
    fill(one, 10)
    lines = server.service.exchange(two.principal, two.request(), echo="e")
    got = [next(lines)]
    one.delete("product", "p3")
    one.insert("product", "later", sku="later")
    one.sync()
    got += list(lines)
    two.apply(got)
    assert ("product", "p3") in two.rows
    assert ("product", "later") not in two.rows


def test_closing_an_answer_releases_its_snapshot(server: Any) -> None:
    one = server.peer()
    for take in (0, 1):
        lines = server.service.exchange(one.principal, one.request(), echo="e")
        for _ in range(take):
            next(lines)
        lines.close()
        one.nonce = server.query("SELECT nonce FROM holdfast_replica")[0][0]
    assert server.reads_are_free()
    lines = server.service.exchange(one.principal, one.request(), echo="e")
    list(lines)
    lines.close()
    assert server.reads_are_free()


def test_the_head_tells_who_the_device_is(server: Any) -> None:
    one = server.peer("till-3", user="ada", read=("catalog",), write=("store/1",))
    head, last = server.service.exchange(one.principal, one.request(), echo="xyz")
    assert isinstance(head, Head)
    assert isinstance(last, Checkpoint)
    assert (head.device, head.user, head.echo, head.epoch) == (
        "till-3", "ada", "xyz", server.service.epoch,
    )  # fmt: skip
    assert {name: grant.write for name, grant in head.scopes.items()} == {
        "catalog": False, "store/1": True,
    }  # fmt: skip
    assert all(len(bytes.fromhex(grant.key)) == 32 for grant in head.scopes.values())
    assert {name: p.version for name, p in last.scopes.items()} == {"catalog": 0, "store/1": 0}


def refused(peer: Any, **options: Any) -> tuple[str, int]:
    with pytest.raises(ProtocolError) as failure:
        peer.sync(**options)
    return failure.value.code, failure.value.status


def test_requests_that_do_not_fit_are_refused_whole(server: Any) -> None:
    one = server.peer()
    fill(one, 1)
    one.insert("product", "x", sku="x")
    assert refused(one, device="other") == ("wrong_device", 403)
    assert refused(one, schema="f" * 32) == ("schema_mismatch", 409)
    assert refused(one, epoch="other") == ("epoch_mismatch", 409)
    assert refused(one, protocol=99)[0] == "protocol_version"
    assert refused(one, nonce=Nonces("wrongwrong", "newnewnew")) == ("nonce_mismatch", 409)
    assert server.query("SELECT high FROM holdfast_replica") == [(1,)]
    assert [o.outcome for o in one.sync()] == ["applied"]


def test_a_copied_replica_is_found_by_its_nonce(server: Any) -> None:
    one, copy = server.peer("d1"), server.peer("d1")
    one.sync()
    copy.nonce, copy.epoch, copy.checkpoint = one.nonce, one.epoch, one.checkpoint
    copy.sync()
    one.sync()  # two that only read cannot be told apart, and do no harm
    copy.insert("product", "p", sku="s")
    copy.sync()
    assert refused(one) == ("nonce_mismatch", 409)
    fresh = server.peer("d1")
    assert refused(fresh) == ("nonce_mismatch", 409)


def test_a_lost_first_answer_can_be_asked_for_again(server: Any) -> None:
    one = server.peer()
    request = one.request()
    server.service.exchange(one.principal, request, echo="e").close()
    one.apply(list(server.service.exchange(one.principal, request, echo="e")))
    one.nonce = request.nonce.to
    one.sync()


def test_seals(server: Any) -> None:
    one = server.peer()
    fill(one, 2)
    good = one.checkpoint["catalog"]
    for forged in (
        msgspec.structs.replace(good, version=7),
        msgspec.structs.replace(good, count=9),
        msgspec.structs.replace(good, digest="0" * 32),
        msgspec.structs.replace(good, seal="0" * 32),
        msgspec.structs.replace(good, seal="é"),
    ):
        assert refused(one, checkpoint={"catalog": forged}) == ("seal_invalid", 409)
    assert refused(one, checkpoint={"store/9": good}) == ("seal_invalid", 409)
    for version, digest in ((9, Digest(2, 5)), (1, Digest(2, 5))):
        text = seal(
            server.store.seal_secret, epoch=server.service.epoch, scope="catalog",
            version=version, digest=digest,
        )  # fmt: skip
        ahead = Position(version, digest.count, digest.hex, text)
        assert refused(one, checkpoint={"catalog": ahead}) == ("epoch_mismatch", 409)
        one.epoch, one.nonce, one.replica = "", "", server.random(16).hex()
        one.sync()


def test_an_old_checkpoint_is_good_for_ever(server: Any) -> None:
    one = server.peer("d1")
    fill(one, 3)
    two = server.peer("d2")
    two.sync()
    for index in range(30):
        one.update("product", "p0", name=f"n{index}")
        one.sync()
    two.sync()
    assert two.last_rows == [("product", "p0")]
    assert two.rows == one.rows


def test_the_epoch_survives_a_restart(server: Any) -> None:
    one = server.peer()
    fill(one, 3)
    epoch = server.service.epoch
    server.reopen()
    assert server.service.epoch == epoch
    one.update("product", "p0", name="n")
    assert [o.outcome for o in one.sync()] == ["applied"]
    server.check()


def grown(schema: Schema, *columns: Column, generation: int = 2) -> Schema:
    product = schema.tables[0]
    columns_now = (*product.columns[:3], *columns, *product.columns[3:])
    product = msgspec.structs.replace(product, columns=columns_now)
    return msgspec.structs.replace(
        schema, tables=(product, *schema.tables[1:]), generation=generation
    )


def test_a_schema_may_grow_in_place(server: Any) -> None:
    one = server.peer("d1")
    fill(one, 3)
    one.delete("product", "p2")
    one.sync()
    server.sql("UPDATE product SET name = 'direct' WHERE id = 'p1'")
    server.reopen(
        grown(server.schema, Column("colour", default="red"), Column("size", nullable=True))
    )
    assert server.store.stale_tables == ()
    two = server.peer("d2")
    two.sync()
    assert two.row("product", "p1")["colour"] == "red"
    assert two.row("product", "p1")["name"] == "direct"
    two.update("product", "p0", colour="blue", size="L")
    assert [o.outcome for o in two.sync()] == ["applied"]
    server.sql("UPDATE product SET colour = 'green' WHERE id = 'p1'")
    two.sync()
    assert two.row("product", "p1")["colour"] == "green"
    server.check()


@pytest.mark.parametrize("column", [Column("needed"), Column("name", "integer")])
def test_a_schema_may_not_change_otherwise(server: Any, column: Column) -> None:
    server.service.close()
    schema = server.schema
    if column.name == "needed":
        other = grown(schema, column)
    else:
        product = schema.tables[0]
        columns = tuple(column if c.name == "name" else c for c in product.columns)
        table = msgspec.structs.replace(product, columns=columns)
        other = msgspec.structs.replace(schema, tables=(table, *schema.tables[1:]), generation=2)
    with pytest.raises(SchemaError) as failure:
        type(server.store).open(str(server.path), other, random_bytes=server.random)
    assert failure.value.code == "schema_mismatch"
    assert f"column {column.name}" in str(failure.value)
    server.open()


def test_a_generation_is_not_used_twice(server: Any) -> None:
    """Devices know a schema by its generation: what is added has a number of its own."""
    server.service.close()
    other = grown(server.schema, Column("colour", default="red"), generation=1)
    with pytest.raises(SchemaError, match="column colour is new") as failure:
        type(server.store).open(str(server.path), other, random_bytes=server.random)
    assert failure.value.code == "generation_reused"
    server.open()
    assert "colour" not in server.schema.tables[0].by_name


def test_a_new_column_keeps_its_checks(server: Any) -> None:
    """Whoever writes into a table that grew is held to what the new column declares."""
    fill(server.peer("d1"), 3)
    schema = grown(server.schema, Column("colour", default="red"))
    check = Check("colour", "one_of", values=("red", "blue"))
    product = msgspec.structs.replace(schema.tables[0], checks=(*schema.tables[0].checks, check))
    server.reopen(msgspec.structs.replace(schema, tables=(product, *schema.tables[1:])))
    two = server.peer("d2")
    two.sync()
    two.update("product", "p0", colour="blue")
    assert [o.outcome for o in two.sync()] == ["applied"]
    two.update("product", "p1", colour="green")
    assert [o.outcome for o in two.sync()] == ["refused"]
    server.check()


def test_a_closed_store_says_so(server: Any) -> None:
    server.service.close()
    with pytest.raises(DatabaseError):
        server.store.read()
    server.open()


def count_commits(server: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    commits: list[int] = []
    transact = server.store.transact

    def counted(work: Any, **more: Any) -> Any:
        commits.append(1)
        return transact(work, **more)

    monkeypatch.setattr(server.store, "transact", counted)
    return commits


def test_who_has_nothing_to_send_costs_no_commit(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = server.peer("d1"), server.peer("d2")
    two.sync()
    commits = count_commits(server, monkeypatch)
    fill(one, 3)
    assert len(commits) == 1
    two.sync()
    two.sync()
    assert len(two.rows) == 3
    assert len(commits) == 1, "a pull has written"
    server.now += SEEN_INTERVAL_MS * 1000
    two.sync()
    assert len(commits) == 2, "the device was seen, and nobody wrote it down"
    two.sync()
    assert len(commits) == 2
    server.now -= 2 * SEEN_INTERVAL_MS * 1000  # the server's clock is set back
    two.sync()
    assert len(commits) == 3, "a device that was seen in the future is never seen again"


def test_who_reads_named_scopes_looks_at_no_others(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(server.peer("d1"), 3)
    with contextlib.closing(server.store.read()) as snapshot:
        kind = type(snapshot)

    def all_names(_snapshot: Any) -> list[str]:
        raise AssertionError("the names of all scopes were read")

    monkeypatch.setattr(kind, "scope_names", all_names)
    peer = server.peer("d2", read=("catalog", "store/never"))
    peer.sync()
    assert set(peer.checkpoint) == {"catalog", "store/never"}
    assert len(peer.rows) == 3


def test_a_pull_alone_is_checked_as_a_push_is(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = server.peer("d1"), server.peer("d2")
    fill(one, 3)
    two.sync()
    commits = count_commits(server, monkeypatch)
    old = Nonces("00" * 8, "00" * 8)
    with pytest.raises(ProtocolError) as caught:
        list(server.service.exchange(two.principal, two.request(nonce=old), echo="e"))
    assert caught.value.code == "nonce_mismatch"
    forged = {
        name: msgspec.structs.replace(position, version=position.version + 1)
        for name, position in two.checkpoint.items()
    }
    del commits[:]
    with pytest.raises(ProtocolError) as caught:
        list(server.service.exchange(two.principal, two.request(checkpoint=forged), echo="e"))
    assert caught.value.code == "seal_invalid"
    assert not commits
    two.sync()
