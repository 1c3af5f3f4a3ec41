"""`stockroom device` says when others can read the device's token."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from holdfast.testing import free_port
from stockroom.cli import main


@pytest.mark.skipif(sys.platform == "win32", reason="files have no mode")
@pytest.mark.parametrize(("mode", "is_told"), [(0o644, True), (0o600, False)])
def test_a_token_that_others_can_read_is_told_of(
    mode: int, is_told: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    token = tmp_path / "till.token"
    token.write_text("secret words\n")
    token.chmod(mode)
    server = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(SystemExit) as ended:
        main(
            ["device", "--db", str(tmp_path / "till.db"), "--server", server, "--token-file",
             str(token), "product", "list"]
        )  # fmt: skip
    assert ended.value.code == 0
    said = capsys.readouterr()
    assert (f"chmod 600 {token}" in said.err) is is_told
    assert "secret words" not in said.err + said.out
