"""Names of people and devices, as a device reads them: rows know both by what identifies them.

Knows: the tables `person` and `device`. Must not know: where a name is shown. The twin of
`names.svelte.ts` in the web app.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holdfast import Replica


@dataclass(frozen=True, slots=True)
class Names:
    """`people` by what they sign in with, `devices` by their ids."""

    people: Mapping[str, str]
    devices: Mapping[str, str]

    def person(self, login: str) -> str:
        """The name of a person; what they sign in with where no name has arrived."""
        return self.people.get(login, login)

    def device(self, device: str) -> str:
        """The name of a device; nothing where it has none."""
        return self.devices.get(device, "")

    def both(self, login: str, device: str) -> str:
        """Name of a person, with that of the device."""
        return ", ".join(part for part in (self.person(login), self.device(device)) if part)


def read_names(replica: Replica) -> Names:
    """All names that have reached this device."""
    people = replica.query("SELECT login, name FROM person")
    devices = replica.query("SELECT id, name FROM device")
    return Names(
        {str(login): str(name) for login, name in people},
        {str(device): str(name) for device, name in devices},
    )
