"""The only code that changes anything on a host: executors, the ledger that knows what they did, and who may ask.

The agent holds no privilege: what it wants done it asks of the actuator (see `root`), which decides what is allowed.
Nothing here trusts an exit code: an action is done when the world shows it.
"""
