"""What the tests here share (`bazaar`, `world`, `checks`, `again`) is found beside them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
