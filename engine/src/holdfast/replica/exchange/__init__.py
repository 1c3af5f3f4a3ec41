"""Exchanges from the device's side: request, verified answer, one local transaction.

Enters: the outbox and the positions of a replica. Leaves: the stored answer, or the result of a
verification.
"""
