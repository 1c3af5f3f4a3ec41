"""Real sales replayed over a bad connection: many devices, real processes, every sum checked."""
