"""The part of PACS Apprentice that runs inside Orthanc: it tells the learner that something arrived, and shows its state.

Standard library only, AGPL-3.0-or-later (see LICENSE in this folder). Nothing here is needed for correctness: Orthanc's log
of changes is the truth, and a nudge that is lost only costs the learner some seconds.
"""

VERSION = "0.1.0"
