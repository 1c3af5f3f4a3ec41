"""What holds for every test of the house, before any of them is read."""

import properties

properties.load()
