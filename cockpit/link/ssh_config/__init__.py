"""The operator's ssh_config, read once and resolved per host as `ssh` itself would; what is not honoured is said."""
