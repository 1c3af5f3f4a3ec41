"""The messages and their encoding."""
