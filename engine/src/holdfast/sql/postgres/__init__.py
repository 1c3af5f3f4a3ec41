"""SQL for PostgreSQL: tables, capture of direct writes, and statements of the server.

Enters: a schema. Leaves: DDL, triggers and statements. Knows no connection.
"""
