"""The flow file of a proposal."""
