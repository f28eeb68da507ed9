"""The asynchronous core of lume-client."""
