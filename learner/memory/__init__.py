"""Replay: what stays, what is drawn, on disk."""
