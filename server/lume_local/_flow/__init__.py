"""What a flow version says."""
