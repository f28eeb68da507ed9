"""The values that the server stores (see `sql`), independent of their storage."""
