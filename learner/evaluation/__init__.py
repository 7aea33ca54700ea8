"""Simulated reader, streams, metrics: the acceptance test that a site runs on its own data."""
