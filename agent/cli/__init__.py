"""The command line of the agent: one file per command, imported when it is called. `attach` and `once` start in
milliseconds and so import next to nothing."""
