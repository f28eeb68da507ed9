"""The operations of `Client`, by subject."""
