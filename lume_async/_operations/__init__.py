"""The operations of a client by their subject: `Client` has them all."""
