"""Https on a shop's own network: its authority, its certificate, and the guide to trust."""

from __future__ import annotations

import ipaddress
import plistlib
import re
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from holdfast.core.errors import UsageError
from stockroom.server.lan.addresses import Machine, is_near, this_machine, url_of
from stockroom.server.lan.authority import Authority
from stockroom.server.lan.certificates import ShopCertificates
from stockroom.server.lan.guide import Guide, qr_lines, qr_svg
from stockroom.server.lan.steps import DEVICES

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
NAMES = ("till.local", "till", "192.168.1.20", "fd00::20", "localhost", "127.0.0.1", "::1")


class Clock:
    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


def made(folder: Path, clock: Callable[[], datetime], *names: str) -> Authority:
    return Authority(folder / "tls", names or ("till.local", "till"), now=clock)


def leaf_of(authority: Authority) -> x509.Certificate:
    return x509.load_pem_x509_certificates(authority.server_file.read_bytes())[0]


def is_believed(authority: x509.Certificate, leaf: x509.Certificate, name: str) -> bool:
    """Whether a verifier that knows nothing of us believes the certificate for a name."""
    at = max(leaf.not_valid_before_utc, authority.not_valid_before_utc) + timedelta(hours=1)
    verifier = PolicyBuilder().store(Store([authority])).time(at)
    try:
        subject: x509.IPAddress | x509.DNSName = x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        subject = x509.DNSName(name)
    try:
        verifier.build_server_verifier(subject).verify(leaf, [])
    except VerificationError:
        return False
    return True


def test_the_certificate_is_believed_for_each_name_and_no_other(tmp_path: Path) -> None:
    authority = made(tmp_path, Clock())
    assert authority.renew(NAMES)
    leaf = leaf_of(authority)
    assert [is_believed(authority.certificate, leaf, name) for name in NAMES] == [True] * len(NAMES)
    assert not is_believed(authority.certificate, leaf, "bank.example.com")
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc <= timedelta(days=397)
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]


def test_the_authority_cannot_vouch_for_the_internet(tmp_path: Path) -> None:
    authority = made(tmp_path, Clock())
    for name in ("bank.example.com", "8.8.8.8", "2600::1", "evil-local", "xlocal"):
        assert not authority.vouches_for(name)
    for name in ("other.local", "shop.lan", "10.9.8.7", "100.100.1.1", "fe80::1"):
        assert authority.vouches_for(name)
    # Signed all the same, as who steals the key would, nobody believes it.
    forged = authority._issue(["bank.example.com"])
    assert not is_believed(authority.certificate, forged.certificate, "bank.example.com")
    # And it makes no other authorities.
    basic = authority.certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert basic.critical and basic.value.path_length == 0
    constraints = authority.certificate.extensions.get_extension_for_class(x509.NameConstraints)
    assert constraints.critical


def test_only_the_owner_reads_the_keys(tmp_path: Path) -> None:
    authority = made(tmp_path, Clock())
    authority.renew(NAMES)
    folder = tmp_path / "tls"
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}
    assert modes["authority.pem"] == modes["server.pem"] == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert "PRIVATE" not in authority.public_file.read_text()
    assert len(modes) == 3  # nothing half written stays


def test_it_is_renewed_before_its_end_and_when_names_change(tmp_path: Path) -> None:
    clock = Clock()
    authority = made(tmp_path, clock)
    machine = Machine(names=("till.local",), addresses=("192.168.1.20",))
    shown = ShopCertificates(authority, lambda: machine)
    first, context = leaf_of(authority), shown.context()
    shown.look()
    assert leaf_of(authority) == first and shown.context() is context

    clock.now += timedelta(days=397 - 2 - 46)
    shown.look()
    assert leaf_of(authority) == first
    clock.now += timedelta(days=2)
    shown.look()
    second = leaf_of(authority)
    assert second != first and shown.context() is not context
    assert second.not_valid_after_utc > clock.now + timedelta(days=300)

    machine = Machine(names=("till.local",), addresses=("192.168.1.99",))
    shown.look()
    third = leaf_of(authority)
    assert is_believed(authority.certificate, third, "192.168.1.99")
    assert not is_believed(authority.certificate, third, "192.168.1.20")
    # A clock that was set back, or an authority that was made anew, has one made as well.
    clock.now = NOW
    shown.look()
    assert leaf_of(authority).not_valid_before_utc <= NOW


def test_the_next_start_has_the_same_authority(tmp_path: Path) -> None:
    clock = Clock()
    first = made(tmp_path, clock)
    first.renew(NAMES)
    again = made(tmp_path, clock, "renamed.local")
    assert again.certificate == first.certificate
    assert not again.renew(NAMES)
    # Of another folder's authority nothing is believed here.
    (tmp_path / "tls" / "authority.pem").unlink()
    other = made(tmp_path, clock)
    assert other.certificate != first.certificate
    assert other.renew(NAMES)


def test_an_authority_near_its_end_is_followed_by_another(tmp_path: Path) -> None:
    clock = Clock()
    first = made(tmp_path, clock)
    clock.now += timedelta(days=3650 - 100)
    assert made(tmp_path, clock).certificate == first.certificate
    # What it signs by then ends with it, and is not made anew again and again.
    assert first.renew(NAMES)
    assert leaf_of(first).not_valid_after_utc == first.certificate.not_valid_after_utc
    clock.now += timedelta(days=70)
    assert not first.renew(NAMES)
    assert made(tmp_path, clock).certificate != first.certificate


def test_a_folder_or_clock_that_is_wrong_is_said_in_words(tmp_path: Path) -> None:
    made(tmp_path, Clock())
    with pytest.raises(UsageError, match="set the clock") as early:
        made(tmp_path, Clock(datetime(1970, 1, 2, tzinfo=UTC)))
    assert early.value.code == "tls_clock"
    file = tmp_path / "tls" / "authority.pem"
    file.write_text("nothing")
    with pytest.raises(UsageError, match="put it back from a copy") as broken:
        made(tmp_path, Clock())
    assert broken.value.code == "tls_folder"
    assert file.read_text() == "nothing"
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="--tls-dir"):
        Authority(tmp_path / "file" / "tls", ("till",), now=Clock())


def test_who_is_near() -> None:
    for peer, ours in (
        ("192.168.1.7", "192.168.1.20"),
        ("100.100.1.1", "10.0.0.1"),
        ("::ffff:10.0.0.7", "::ffff:10.0.0.1"),
        ("fe80::1%eth0", "fe80::2%eth0"),
        ("2a00:1:2:3::7", "2a00:1:2:3::1"),
        ("203.0.113.5", "203.0.113.5"),
    ):
        assert is_near(peer, ours), peer
    for peer, ours in (
        ("8.8.8.8", "192.168.1.20"),
        ("8.8.8.8", "8.8.4.4"),
        ("::ffff:8.8.8.8", "::ffff:10.0.0.1"),
        ("2a00:1:2:4::7", "2a00:1:2:3::1"),
        ("nonsense", "10.0.0.1"),
    ):
        assert not is_near(peer, ours), peer


def test_this_machine_has_names_and_addresses() -> None:
    machine = this_machine(("Till.Lan",))
    assert machine.names[0] == "till.lan"
    assert {"localhost", "127.0.0.1", "::1"} <= set(machine.all)
    for address in machine.addresses:
        assert not ipaddress.ip_address(address).is_global
    assert url_of("fd00::1", 8040) == "https://[fd00::1]:8040"
    assert url_of("till.local", 443) == "https://till.local"


def test_the_guide_gives_each_device_what_it_takes(tmp_path: Path) -> None:
    authority = made(tmp_path, Clock()).certificate
    guide = Guide(("https://till.local:8040",), "http://192.168.1.20:8040/", authority)
    kind, content = guide.files["stockroom-authority.crt"]
    assert kind == "application/x-x509-ca-cert"
    assert x509.load_der_x509_certificate(content) == authority
    kind, content = guide.files["stockroom.mobileconfig"]
    assert kind == "application/x-apple-aspen-config"
    (payload,) = plistlib.loads(content)["PayloadContent"]
    assert payload["PayloadType"] == "com.apple.security.root"
    assert payload["PayloadContent"] == authority.public_bytes(serialization.Encoding.DER)
    page = guide.page(opened="http://<b>:8040", base="/shop")
    assert "http://&lt;b&gt;:8040" in page and "$" not in page
    for device in DEVICES:
        assert f'id="{device.id}"' in page and f"/shop/trust/{device.file}" in page
    assert page.count("<svg") == 1 + sum(len(device.steps) for device in DEVICES)
    # Without an authority of its own, and without any address, it still says what to do.
    bare = Guide().page(opened="http://till.lan")
    assert "begins with https" in bare and "certificate" not in bare


def test_a_code_for_cameras_is_whole_with_its_quiet_zone() -> None:
    picture = qr_svg("http://192.168.1.20:8040/").decode()
    width, height = map(int, re.findall(r'(?:width|height)="(\d+)"', picture)[:2])
    assert width == height and (width // 8 - 8 - 17) % 4 == 0
    assert len(qr_lines("http://192.168.1.20:8040/").splitlines()) > 10
