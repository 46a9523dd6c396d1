"""Replicas on this host: who listens, which engine it is, how it is, read over HTTP from itself alone."""
