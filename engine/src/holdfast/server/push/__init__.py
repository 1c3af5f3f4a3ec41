"""Push: transactions of a device are decoded, decided, merged and journalled.

Enters: transactions of the wire. Leaves: outcomes, and what ``merging`` has made of them. Holds the
rules of the app and the quotas that may refuse them.
"""
