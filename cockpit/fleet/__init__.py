"""PURE. The state of the whole fleet as columns, fed by frames, read by screens and command lines."""
