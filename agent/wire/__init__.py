"""PURE. The contract between agents and cockpits; the only part of `agent` that a cockpit may import.

preamble, then length-prefixed msgpack frames: `codec` (bytes <-> frames, sans-I/O), `frames` (the records), `block`
(packed columns of a sample), `specs` (what travels: signals, rules, findings, events), `shape` (what a value must look
like), `limits`, `version`. Minors only add. Golden vectors under `tests/wire/vectors/` are append-only.
"""
