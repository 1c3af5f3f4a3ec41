"""What the tests here share is in `replica_lab`, found beside them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
