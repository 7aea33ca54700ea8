"""API, metrics and the node's page."""
