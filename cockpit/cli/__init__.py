"""The command line: one file per command group, imported when it is called.

Standard output carries answers, standard error carries everything about them. Exit status: 0 done (or healthy, for
`status --check`), 1 warning, 2 wrong usage (or critical), 3 cannot know.
"""
