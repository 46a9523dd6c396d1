"""Runbooks: data in `library`, and the pure logic that makes a plan of one, guards it and leads a run.

Rule: nothing here sends anything. A plan and what came back give the next requests; whoever owns the links sends them.
"""
