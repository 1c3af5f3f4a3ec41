"""Behaviour that every driver and every server store has to show, as test classes to subclass.

Enters: a factory of the thing under test. Leaves: tests that pass, or say what it does otherwise.
"""
