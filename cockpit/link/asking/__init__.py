"""Questions to the human at the keys: one at a time, never logged, never kept."""
