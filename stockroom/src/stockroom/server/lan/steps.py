"""Steps by which each kind of device comes to trust a shop's authority, each with a picture.

Knows: the settings of phones and computers as they are called today. Must not know: HTTP, or
certificates. The pictures are drawn here; they show what is pressed, not how a brand looks.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Final, Literal

_WIDTH: Final = 240
_ROW: Final = 30


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do. ``rows``: what the screen shows; ``mark``: the row that is pressed."""

    words: str
    title: str
    rows: tuple[str, ...]
    mark: int
    control: Literal["row", "switch"] = "row"


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A kind of device. ``file``: what it is given."""

    id: str
    name: str
    file: str
    steps: tuple[Step, ...]
    note: str = ""


CERTIFICATE: Final = "stockroom-authority.crt"
PROFILE: Final = "stockroom.mobileconfig"

DEVICES: Final = (
    Device(
        id="iphone",
        name="iPhone and iPad",
        file=PROFILE,
        steps=(
            Step(
                "In Safari, get the certificate by the button above, and tap Allow.",
                "Download a profile?",
                ("Ignore", "Allow"),
                1,
            ),
            Step(
                "Open Settings, tap Profile Downloaded, then Install, twice.",
                "Settings",
                ("Your name", "Profile Downloaded", "Wi-Fi"),
                1,
            ),
            Step(
                "In Settings, open General, About, and at the end Certificate Trust Settings.",
                "About",
                ("Name", "Version", "Certificate Trust Settings"),
                2,
            ),
            Step(
                "Switch on the line Stockroom authority, and tap Continue.",
                "Certificate Trust Settings",
                ("Stockroom authority",),
                0,
                "switch",
            ),
        ),
    ),
    Device(
        id="android",
        name="Android",
        file=CERTIFICATE,
        steps=(
            Step(
                "Get the certificate by the button above. It is kept among the downloads.",
                "Downloads",
                (CERTIFICATE,),
                0,
            ),
            Step(
                "Open Settings and search for CA certificate (under Security, Encryption and "
                "credentials, Install a certificate).",
                "Install a certificate",
                ("CA certificate", "VPN and app user", "Wi-Fi"),
                0,
            ),
            Step(
                "Your phone warns of authorities that can read all it does. Your shop's can vouch "
                "for names of private networks only, so tap Install anyway.",
                "Your data won't be private",
                ("Don't install", "Install anyway"),
                1,
            ),
            Step("Choose the file from the downloads.", "Downloads", (CERTIFICATE,), 0),
        ),
        note="Firefox on Android: tap its version in Settings, About five times, then switch on "
        "Use third party CA certificates under Secret Settings.",
    ),
    Device(
        id="windows",
        name="Windows (Edge, Chrome)",
        file=CERTIFICATE,
        steps=(
            Step(
                "Get the certificate by the button above, open it, and press Install Certificate.",
                "Certificate",
                ("Issued to: Stockroom authority", "Install Certificate"),
                1,
            ),
            Step(
                "Choose Current User, then Place all certificates in the following store, Browse.",
                "Certificate Import Wizard",
                ("Select automatically", "Place all in this store"),
                1,
            ),
            Step(
                "Choose Trusted Root Certification Authorities, Next, Finish, Yes.",
                "Certificate store",
                ("Personal", "Trusted Root Authorities"),
                1,
            ),
        ),
    ),
    Device(
        id="mac",
        name="Mac (Safari, Chrome)",
        file=CERTIFICATE,
        steps=(
            Step(
                "Get the certificate by the button above and open it: Keychain Access takes it in.",
                "Keychain Access",
                ("login", "Stockroom authority"),
                1,
            ),
            Step(
                "Open the line Stockroom authority twice, and unfold Trust.",
                "Stockroom authority",
                ("Trust", "Details"),
                0,
            ),
            Step(
                "Choose Always Trust, close the window, and enter your password.",
                "When using this certificate",
                ("Use System Defaults", "Always Trust"),
                1,
            ),
        ),
    ),
    Device(
        id="firefox",
        name="Firefox",
        file=CERTIFICATE,
        steps=(
            Step(
                "Get the certificate by the button above. If Firefox asks at once, go to step 3.",
                "Downloads",
                (CERTIFICATE,),
                0,
            ),
            Step(
                "Open Settings, search for certificates, press View Certificates, and Import under "
                "Authorities.",
                "Certificate Manager",
                ("Your Certificates", "Authorities", "Import"),
                2,
            ),
            Step(
                "Tick Trust this CA to identify websites, and press OK.",
                "Downloading Certificate",
                ("Trust to identify websites", "Trust to identify email users"),
                0,
                "switch",
            ),
        ),
        note="On Windows and Mac, Firefox also takes what the system trusts.",
    ),
    Device(
        id="linux",
        name="Linux and ChromeOS (Chrome)",
        file=CERTIFICATE,
        steps=(
            Step(
                "Get the certificate by the button above.",
                "Downloads",
                (CERTIFICATE,),
                0,
            ),
            Step(
                "Open Settings, Privacy and security, Security, Manage certificates; import it "
                "under Custom (on older ones: Authorities).",
                "Certificate Manager",
                ("Your certificates", "Custom: installed by you", "Import"),
                2,
            ),
            Step(
                "Where it asks, tick that it may identify websites.",
                "Trust settings",
                ("Trust to identify websites",),
                0,
                "switch",
            ),
        ),
    ),
)


def section(device: Device, base: str) -> str:
    """The steps of a device as HTML."""
    steps = "".join(f"<li>{picture(step)}<p>{escape(step.words)}</p></li>" for step in device.steps)
    note = f'<p class="note">{escape(device.note)}</p>' if device.note else ""
    return (
        f'<details id="{device.id}"><summary>{escape(device.name)}</summary>'
        f'<p class="note"><a class="button plain" href="{base}/trust/{device.file}">'
        f"Get the certificate</a></p><ol>{steps}</ol>{note}</details>"
    )


def picture(step: Step) -> str:
    """A screen with its rows, the one to press marked. Hidden from who cannot see: words say it."""
    height = 34 + _ROW * len(step.rows) + 8
    parts = [
        f'<rect class="frame" x="1" y="1" width="{_WIDTH - 2}" height="{height - 2}" rx="10"/>',
        f'<text class="title" x="14" y="22">{escape(step.title)}</text>',
    ]
    for at, words in enumerate(step.rows):
        top, marked = 32 + _ROW * at, at == step.mark
        kind = "mark" if marked else "row"
        parts.append(
            f'<rect class="{kind}" x="8" y="{top}" width="{_WIDTH - 16}" height="26" rx="6"/>'
            f'<text x="16" y="{top + 17}">{escape(words)}</text>'
        )
        if step.control == "switch":
            off, ball = ("", 219) if marked else (" off", 205)
            parts.append(
                f'<rect class="knob{off}" x="197" y="{top + 5}" width="30" height="16" rx="8"/>'
                f'<circle class="ball" cx="{ball}" cy="{top + 13}" r="6"/>'
            )
        elif marked:
            tip = top + 13
            parts.append(f'<path class="knob" d="M220 {tip - 5}l7 5-7 5z"/>')
    return (
        f'<svg class="picture" viewBox="0 0 {_WIDTH} {height}" aria-hidden="true">'
        f"{''.join(parts)}</svg>"
    )
