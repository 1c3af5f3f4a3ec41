"""What the tests here share is in `replica_lab` and `transport_lab`, found beside them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from transport_lab import stub, transport

__all__ = ["stub", "transport"]
