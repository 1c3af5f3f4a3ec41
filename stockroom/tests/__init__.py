"""Tests; a package, because pytest would take the folder above for the package `stockroom`."""
