"""Real serving engines on this machine, made small: models, servers and the load that is put on them.

The scripts here run with the interpreter of `make lab`, and each in a network namespace where nothing else listens.
"""
