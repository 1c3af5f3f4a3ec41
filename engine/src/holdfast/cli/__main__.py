"""``python -m holdfast.cli``"""

from holdfast.cli.app import main

main()
