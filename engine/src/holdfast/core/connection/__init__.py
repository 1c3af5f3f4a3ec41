"""The state of a connection: states and signals, kinds of failures, and ways out of them;
and what has happened to a replica.

Enters: errors, signals and events. Leaves: a state, and sentences that a person understands.
"""
