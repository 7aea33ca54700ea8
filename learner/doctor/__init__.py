"""``apprentice doctor``: looks at everything that a node needs, and says what to do about what is wrong.

It changes nothing, unless it is asked to (``--write``): then it stores a small study of its own, and deletes it again.
One module a group of checks; :mod:`learner.doctor.checks` is the list of all.
"""

from learner.doctor.checks import CHECKS, Check, examine
from learner.doctor.findings import Finding, Level, worst

__all__ = ["CHECKS", "Check", "Finding", "Level", "examine", "worst"]
