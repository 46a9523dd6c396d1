"""Diagnostics: what a vendor or a colleague wants to see, collected, washed, packed and carried to the operator."""
