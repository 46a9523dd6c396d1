"""The command line of acting: `run`, `runbooks`, `actions`, `runs`, `fetch`, `audit`.

Rule: what a plan says is printed before anything is done, how it ended is what the hosts said, and a script learns
both by its exit status: 0 done, 1 failed or refused, 2 wrong usage, 3 nobody can know.
"""
