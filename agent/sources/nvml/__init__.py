"""What NVIDIA's driver says about the GPUs of this host, read in a child process that can be abandoned."""
