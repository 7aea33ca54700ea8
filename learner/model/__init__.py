"""The back end: network, planning, losses, training step, sliding-window prediction."""
