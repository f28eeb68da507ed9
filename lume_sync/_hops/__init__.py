"""The way of a synchronous call onto the loop and back: the portal, and its calls, held blocks and iterations."""
