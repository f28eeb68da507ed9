"""Accepting connections: sockets, TLS, and the answers of a server that waits for its state."""
