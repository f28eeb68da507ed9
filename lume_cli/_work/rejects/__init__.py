"""The work of `lume rejects`, `resubmit`, `replay` and `discard`."""
