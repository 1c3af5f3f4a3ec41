"""Https on a shop's own network: an authority of the shop's own, the certificate of its server, and
the pages by which phones come to trust both.
"""
