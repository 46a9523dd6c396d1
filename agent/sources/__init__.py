"""Everything an agent reads, one file or folder per thing. `base` holds the records and the `Source` protocol."""
