"""The pure core: values, clocks, merge, sessions; no clock, randomness or I/O of its own."""
