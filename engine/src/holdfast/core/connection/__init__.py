"""The state of a connection: states and signals, kinds of failures, and ways out of them.

Enters: errors and signals. Leaves: a state, and a sentence that a person understands.
"""
