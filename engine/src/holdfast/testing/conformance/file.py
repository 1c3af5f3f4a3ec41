"""Conformance of the files of a server store; part of the suite for stores.

Knows: the contract in ``server.files``. Must not know: where files are kept.
Upholds the ground of I31, and that nothing is offered that is not whole.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from contextlib import closing

import pytest

from holdfast.core.limits import FILE_PIECE_BYTES
from holdfast.schema.model import Schema
from holdfast.server.store.contract import Store
from holdfast.server.store.files import Build, FileStore, ReachedVersion, StoredFile, StoredFileGone

_KEY, _OTHER = "aa" * 16, "bb" * 16


def _file(number: int, data: bytes, *, key: str = _KEY) -> StoredFile:
    return StoredFile(
        id=f"{number:032x}",
        key=key,
        kind="snapshot",
        encoding="gzip",
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        unpacked_bytes=2**40,
        rows=7,
        scopes={"store/'1'": ReachedVersion(5, 7, "ff" * 16)},
        made=1_700_000_000_000_000 + number,
        ends=1_800_000_000_000_000,
    )


def _begin(files: FileStore, key: str = _KEY) -> Build:
    build = files.begin(key)
    assert build is not None
    return build


def _keep(files: FileStore, number: int, data: bytes, *, key: str = _KEY) -> StoredFile:
    file = _file(number, data, key=key)
    with closing(_begin(files, key)) as build:
        source = build.directory / "made"
        source.write_bytes(data)
        build.keep(file, source)
    return file


class FileConformance:
    """The part of the suite that is about files; ``StoreConformance`` has it."""

    schema: Schema
    """What the stores of the suite are opened with."""

    @pytest.mark.parametrize(
        "size", [0, 1, FILE_PIECE_BYTES - 1, FILE_PIECE_BYTES, 2 * FILE_PIECE_BYTES + 1]
    )
    def test_a_file_comes_back_in_pieces(self, store: Store, size: int) -> None:
        data = random.Random(size).randbytes(size)
        file = _keep(store.files, 1, data)
        assert store.files.get(file.id) == store.files.find(_KEY) == file
        count = -(-size // FILE_PIECE_BYTES)
        pieces = [store.files.piece(file, number) for number in range(count)]
        assert b"".join(pieces) == data
        assert all(len(piece) == FILE_PIECE_BYTES for piece in pieces[:-1])

    def test_files_are_found_by_key_the_newest_first(self, store: Store) -> None:
        files = store.files
        assert files.find(_KEY) is None
        newer, older = _keep(files, 9, b"new"), _keep(files, 2, b"old")
        other = _keep(files, 5, b"x", key=_OTHER)
        assert files.find(_KEY) == newer
        assert files.find(_OTHER) == other
        assert sorted(files.listed(), key=lambda file: file.id) == [older, other, newer]
        files.remove(newer.id)
        files.remove("nothing")
        assert files.find(_KEY) == older
        assert files.get(newer.id) is None
        with pytest.raises(StoredFileGone):
            files.piece(newer, 0)

    @pytest.mark.parametrize("name", ["", "..", "../server", "a" * 32, "A" * 32, "a" * 5000, "é"])
    def test_odd_names_are_not_there(self, store: Store, name: str) -> None:
        _keep(store.files, 1, b"x")
        assert store.files.get(name) is None
        store.files.remove(name)
        assert len(store.files.listed()) == 1

    def test_a_piece_behind_the_end_is_not_there(self, store: Store) -> None:
        file = _keep(store.files, 1, b"x")
        with pytest.raises(StoredFileGone):
            store.files.piece(file, 1)

    def test_one_build_of_a_key_at_a_time(
        self, store: Store, opened: Callable[[Schema], Store]
    ) -> None:
        with closing(_begin(store.files)) as build:
            build.tell(3, 10)
            build.tell(4, 10)
            assert store.files.begin(_KEY) is None
            assert list(build.directory.iterdir()) in ([], [build.directory / "lock"])
            with closing(opened(self.schema)) as other:
                assert other.files.begin(_KEY) is None
                assert other.files.progress(_KEY) == (4, 10)
                _begin(other.files, _OTHER).close()
            directory = build.directory
        assert not directory.exists()
        assert store.files.progress(_KEY) == (0, 0)
        _begin(store.files).close()

    def test_a_build_that_keeps_nothing_leaves_nothing(self, store: Store) -> None:
        with closing(_begin(store.files)) as build:
            (build.directory / "half").write_bytes(b"x")
            store.files.tidy()  # what is being made is left alone
            assert (build.directory / "half").exists()
        assert store.files.listed() == []
        assert store.files.find(_KEY) is None

    def test_a_file_is_there_for_all_who_open_the_database(
        self, store: Store, opened: Callable[[Schema], Store]
    ) -> None:
        with closing(opened(self.schema)) as other:
            file = _keep(other.files, 1, b"shared")
            assert store.files.piece(file, 0) == b"shared"
            store.files.remove(file.id)
            assert other.files.get(file.id) is None
            with pytest.raises(StoredFileGone):
                other.files.piece(file, 0)
