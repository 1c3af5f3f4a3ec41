"""The process around the server: worker threads, fair turns, shutdown, and what it reports.

Enters: work to be done, and events to be observed. Leaves: the same work, in turn and within
bounds. Knows nothing of rows, requests or databases; every other package may use it.
"""
