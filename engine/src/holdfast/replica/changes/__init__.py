"""Local changes on their way out: captured in the log, sealed, put into the outbox.

Enters: transactions of the app and of other programs. Leaves: numbered transactions as messages,
with what each depends on.
"""
