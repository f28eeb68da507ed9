"""How a synchronous call gets onto the loop and back: the portal, and what is called, held and iterated by it."""
