"""Events: what has changed in a replica's tables, told to the app after it was committed."""
