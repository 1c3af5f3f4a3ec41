"""Stockroom's server: the engine's server, people to begin with, and the web app beside it."""
