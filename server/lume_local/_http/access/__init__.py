"""Access control: keys, tokens of issuers, and their limits."""
