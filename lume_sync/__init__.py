"""The synchronous face of lume-client."""
