"""What the server keeps: the values of a store (see `sql`), independent of how it keeps them."""
