"""How an action comes to be done: who may, what the ledger says, one at a time on a target, and what becomes of it when
anybody dies on the way.

Nothing is touched before the journal has it on disk, and nothing that may have been touched is ever done again: what
became of it is learnt by looking.
"""
