"""PURE. What was done and what is under way, over all hosts: rows for lists and screens, filters, names of targets.

Rule: a row says what its host's ledger says. Two hosts of one run may know different parts of it; nothing is joined
that they do not tell. `rows` makes the rows, `told` reads events, `names` says what an action is about, `kin` what
else that touches, `words` understands what an operator calls a target or an entry.
"""
