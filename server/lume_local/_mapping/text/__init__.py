"""The flow file that a proposal becomes."""
