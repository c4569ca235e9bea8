"""A pool on real sockets while its servers are killed."""
