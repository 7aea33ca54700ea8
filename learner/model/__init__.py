"""The back end: network, planning, losses, training step, sliding-window prediction.

Importing this package before torch makes OpenMP threads sleep instead of spin while they wait, unless the environment says
otherwise. Spinning threads collapse on a busy machine: a training step that takes 0.4 s on one thread took 2.5 s on two
spinning ones and 0.6 s on two sleeping ones, with two cores and four busy processes.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
