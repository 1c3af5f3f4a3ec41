"""All families of golden vectors, by name."""

from __future__ import annotations

from golden import Family
from golden.clocks import BACKOFF, CLOCK
from golden.failures import FAILURES
from golden.files import FILES
from golden.groups import GROUPS
from golden.hashes import DIGESTS, ENCODING, KEYS
from golden.migrations import MIGRATIONS
from golden.policies import POLICY
from golden.replicas import REPLICA
from golden.sessions import CONNECTIVITY, SESSION
from golden.sets import SETS
from golden.sides import SIDES
from golden.values import VALUES

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        *(VALUES, ENCODING, KEYS, DIGESTS, CLOCK, BACKOFF, CONNECTIVITY, FAILURES, SESSION),
        *(SIDES, POLICY, REPLICA, GROUPS, SETS, FILES, MIGRATIONS),
    )
}
