"""Where connections are accepted: sockets, TLS, and what a server answers that waits for the state."""
