"""Who we are to a host and who the host is to us: identities and certificates, known_hosts and revocations."""
