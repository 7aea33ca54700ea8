"""What asks for an answer, as one text that is the same whenever it is asked.

============================  ==============================================================
images                        ``<series UID>#<digest of its instances>#<task>``
an annotation                 the archive's identifier of the object
an annotation sent again      ``<identifier>#<how often it was withdrawn before>``
the withdrawal of a drawing   ``withdrawal of round <number>``
============================  ==============================================================
"""

from __future__ import annotations

_WITHDRAWAL = "withdrawal of round "


def images_trigger(series_instance_uid: str, digest: str, task_id: str) -> str:
    """Round 0: a series is complete, or was completed once more."""
    return f"{series_instance_uid}#{digest}#{task_id}"


def annotation_trigger(instance_id: str, withdrawn: int = 0) -> str:
    """An annotation object; ``withdrawn`` says how often it was deleted and sent again."""
    return f"{instance_id}#{withdrawn}" if withdrawn else instance_id


def withdrawal_trigger(round_id: int) -> str:
    """The annotation object of a round was deleted in the archive."""
    return f"{_WITHDRAWAL}{round_id}"


def withdrawn_round(trigger_uid: str) -> int | None:
    """The round whose annotation a trigger withdraws, or None if it is no withdrawal."""
    return int(trigger_uid.removeprefix(_WITHDRAWAL)) if trigger_uid.startswith(_WITHDRAWAL) else None


def instance_of(trigger_uid: str) -> str:
    """The archive's identifier of the annotation object that is the trigger."""
    return trigger_uid.partition("#")[0]
