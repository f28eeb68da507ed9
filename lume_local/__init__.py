"""The embedded Lume server: really runs flows, on this machine."""
