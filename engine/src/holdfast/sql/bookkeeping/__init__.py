"""The statements on the engine's own tables of a replica, by table and name.

Enters: nothing, they are the same for every schema. Leaves: their texts, for the replica program.
"""
