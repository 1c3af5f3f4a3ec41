"""A schema compiled to SQL."""
