"""The store on PostgreSQL: many processes, locks by scope, LISTEN and NOTIFY.

Enters: operations of the store's contract. Leaves: statements on one PostgreSQL database.
"""
