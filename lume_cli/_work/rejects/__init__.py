"""The work of `lume rejects` and `lume resubmit`."""
