"""An answer is believed when it is whole and ours, from a server or in one process.

Checks I31.
"""

from __future__ import annotations

import contextlib
import gzip
from pathlib import Path
from typing import Any

import pytest
from transport_lab import (
    ECHO,
    MIDDLE,
    NOW_US,
    WHOLE,
    Stub,
    ask,
    encoded,
    error,
    exchange,
    failure,
    head,
    http,
)

from holdfast.core.errors import (
    Offline,
    SyncError,
)
from holdfast.core.limits import RESPONSE_MEMORY_BYTES_MAX
from holdfast.protocol.codec import decode_request, encode_request
from holdfast.protocol.compression import ENCODINGS, Encoding, pack_bytes, unpack_bounded
from holdfast.protocol.messages import (
    Change,
    Checkpoint,
    ExchangeRequest,
    Line,
    Rows,
    Transaction,
)
from holdfast.replica.http import spool as answer_module
from holdfast.replica.http.transport import HttpTransport


def test_a_whole_answer_is_believed(stub: Stub, transport: HttpTransport) -> None:
    answer = ask(stub, transport, http(WHOLE))
    assert answer.head == head()
    assert answer.checkpoint == Checkpoint({}, 3)
    assert list(answer.lines()) == MIDDLE
    assert list(answer.lines()) == MIDDLE  # from the start again
    assert (answer.sent_us, answer.received_us) == (NOW_US, NOW_US)
    answer.close()
    answer.close()


def test_what_is_sent(stub: Stub, transport: HttpTransport) -> None:
    ask(stub, transport, http(WHOLE)).close()
    before, _, body = stub.requests[0].partition(b"\r\n\r\n")
    sent = before.decode().lower().split("\r\n")
    assert sent[0] == "post /v1/exchange http/1.1"
    assert "authorization: bearer secret" in sent
    assert f"holdfast-echo: {ECHO}" in sent
    assert "content-type: application/json" in sent
    assert decode_request(body, ExchangeRequest) == exchange()


def test_a_large_request_is_compressed(stub: Stub, transport: HttpTransport) -> None:
    change = Change(table="t", key=["k"], op="insert", new={"n": "x" * 5000})
    request = exchange(transactions=[Transaction(number=1, id="0" * 32, at=1, changes=[change])])
    stub.answers.append(http(WHOLE))
    transport.exchange(request, ECHO).close()
    before, _, body = stub.requests[0].partition(b"\r\n\r\n")
    assert b"content-encoding: gzip" in before.lower()
    assert gzip.decompress(body) == encode_request(request)


def test_zstd_goes_up_to_a_server_that_has_said_it_takes_it(
    stub: Stub, transport: HttpTransport
) -> None:
    change = Change(table="t", key=["k"], op="insert", new={"note": "x" * 5000})
    transaction = Transaction(number=1, id="0" * 32, at=1, changes=[change])
    request = exchange(transactions=[transaction])
    takes = http(WHOLE, accept_encoding="gzip, zstd;q=1")
    no = error("415 Unsupported Media Type", "bad_encoding")
    stub.answers.extend([takes, takes, no, http(WHOLE)])
    sent = []
    for _ in range(4):
        with contextlib.suppress(SyncError):
            transport.exchange(request, ECHO).close()
        before, _, body = stub.requests[-1].partition(b"\r\n\r\n")
        asked = b"accept-encoding: zstd, gzip" in before.lower()
        # Who packs in the best way is answered in it, unasked.
        assert asked == (b"content-encoding: zstd" not in before.lower())
        assert asked or b"accept-encoding" not in before.lower()
        name: Any = next(e for e in ENCODINGS if b"content-encoding: " + e.encode() in before)
        assert unpack_bounded([body], name) == encode_request(request)
        sent.append(name)
    assert sent == ["gzip", "zstd", "zstd", "gzip"]


def test_a_connection_is_used_again(stub: Stub, transport: HttpTransport) -> None:
    stub.answers.extend([http(WHOLE)] * 3)
    for _ in range(3):
        transport.exchange(exchange(), ECHO).close()
    assert stub.connections == 1


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("pieces", [1, 3, 1000])
def test_a_compressed_answer(
    stub: Stub, transport: HttpTransport, pieces: int, encoding: Encoding
) -> None:
    rows: list[Line] = [Rows("t", [[number, "x" * 50]]) for number in range(pieces)]
    body = encoded(head(), *rows, Checkpoint({}, pieces + 1))
    answer = ask(stub, transport, http(pack_bytes(body, encoding), content_encoding=encoding))
    assert list(answer.lines()) == rows
    answer.close()


def test_a_large_answer_goes_to_a_file(stub: Stub, tmp_path: Path) -> None:
    rows: list[Line] = [
        Rows("t", [[number, "x" * 100_000]])
        for number in range(RESPONSE_MEMORY_BYTES_MAX // 100_000 + 2)
    ]
    transport = HttpTransport(stub.url, lambda: "t", spool_directory=tmp_path)
    answer = ask(stub, transport, http(encoded(head(), *rows, Checkpoint({}, len(rows) + 1))))
    assert sum(1 for _ in answer.lines()) == len(rows)
    answer.close()
    assert list(tmp_path.iterdir()) == []
    transport.close()


def test_no_room_for_the_answer(stub: Stub, tmp_path: Path) -> None:
    transport = HttpTransport(stub.url, lambda: "t", spool_directory=tmp_path / "gone")
    body = encoded(head(), Rows("t", [["x" * (RESPONSE_MEMORY_BYTES_MAX + 1)]]), Checkpoint({}, 2))
    assert failure(stub, transport, http(body)).code == "disk_full"
    transport.close()


@pytest.mark.parametrize("size", [1, 2, 3, 17, 64, 4096])
def test_lines_are_found_however_they_arrive(size: int) -> None:
    pieces = [WHOLE[start : start + size] for start in range(0, len(WHOLE), size)]
    answer = answer_module.receive(pieces, echo=ECHO, sent_us=0, received_us=0)
    assert (answer.head, list(answer.lines())) == (head(), MIDDLE)
    assert answer.checkpoint == Checkpoint({}, 3)
    answer.close()


def test_every_truncation_is_found() -> None:
    for end in range(len(WHOLE)):
        with pytest.raises(Offline) as caught:
            answer_module.receive([WHOLE[:end]], echo=ECHO, sent_us=0, received_us=0)
        assert caught.value.code == "broken_answer", end


BROKEN = {
    "no lines": b"",
    "only a head": encoded(head()),
    "no checkpoint": encoded(head(), *MIDDLE),
    "a line lost": encoded(head(), MIDDLE[0], Checkpoint({}, 3)),
    "a line doubled": encoded(head(), *MIDDLE, MIDDLE[1], Checkpoint({}, 3)),
    "something behind": WHOLE + encoded(MIDDLE[0]),
    "two answers": WHOLE + WHOLE,
    "garbage behind": WHOLE + b"x",
    "blank line behind": WHOLE + b"\n",
    "no line end": WHOLE[:-1],
    "not JSON": b"hello\nworld\n",
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN)
def test_an_answer_that_is_not_whole(stub: Stub, transport: HttpTransport, body: bytes) -> None:
    found = failure(stub, transport, http(body))
    assert isinstance(found, Offline)
    assert found.code == "broken_answer"


@pytest.mark.parametrize(
    "middle", [b"{}\n", b"no\n", encoded(head()), encoded(Checkpoint({}, 1)), b"\xff\n"]
)
def test_a_wrong_line_in_the_middle_is_found_when_it_is_read(middle: bytes) -> None:
    body = encoded(head()) + middle + encoded(Checkpoint({}, 2))
    answer = answer_module.receive([body], echo=ECHO, sent_us=0, received_us=0)
    with pytest.raises(Offline, match="broken_answer"):
        list(answer.lines())
    answer.close()


def test_a_line_or_answer_above_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_module, "RESPONSE_LINE_BYTES_MAX", 300)
    monkeypatch.setattr(answer_module, "RESPONSE_BYTES_MAX", 1000)

    def sizes(*lines: int) -> list[bytes]:
        return [b"x" * size + b"\n" for size in lines]

    for pieces in ([b"x" * 200, b"x" * 200], sizes(301), sizes(*[250] * 4), [b"x" * 290] * 9):
        with pytest.raises(Offline, match="larger"):
            answer_module.receive(pieces, echo="", sent_us=0, received_us=0)
