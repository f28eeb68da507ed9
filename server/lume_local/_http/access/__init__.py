"""Who may do what: keys, tokens of issuers, what bounds them."""
