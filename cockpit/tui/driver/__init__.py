"""Paced output: our Textual driver. Rule: `paced` alone knows Textual; everything else is pure and is given the time.

Textual --write--> reader -> picture (wanted | shown) -> difference -> outlet -> terminal
                                              ^ pacing: when, how much <- replies --'
"""
