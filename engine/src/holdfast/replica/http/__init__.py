"""HTTP of the device: requests, streams, and answers believed only when whole and ours.

Enters: encoded requests. Leaves: verified answers, live events and pieces of files, or one of our
errors. Knows no table of the replica.
"""
