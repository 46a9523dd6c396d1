"""Acting from the command line, and its story."""
