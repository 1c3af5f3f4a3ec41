"""Migration of a replica's file: from an older generation of its schema, or an older format.

Enters: a file, and the schema that the app has now. Leaves: the same file, of that schema, with all
its work; or as it was.
"""
