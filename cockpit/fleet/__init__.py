"""PURE. The state of the whole fleet as columns, fed by frames, read by screens and command lines.

In: `state` takes frames, with `plan`, `table` and `history` for what is measured, `facts` and `records` for what is
named, `events` for what happened, `roster` for who is owed an answer. Out: `problems` and `rollup` say what a human
should know; `columns`, `terms`, `query` and `order` find and sort. Nothing is judged here but presence and age:
severity comes from the agents' findings and from links.
"""
