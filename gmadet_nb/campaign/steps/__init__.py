"""One exposure through one stage: read, call the science, write, return a row.

These are what the notebooks map over the exposures. A bad image comes back as a
row with its reason, so that the night goes on without it.
"""
