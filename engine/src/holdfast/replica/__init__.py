"""A device's local database that syncs."""
