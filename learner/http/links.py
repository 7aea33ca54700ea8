"""Addresses in a viewer, for whoever looks at this node. All links of the API and the page are made here."""

from __future__ import annotations

from learner.domain.case import Case
from learner.domain.result_kinds import PREDICTION
from learner.domain.viewer_link import viewer_link
from learner.node import Node


class Links:
    """Makes links to the images of cases.

    Args:
        node: whose settings name the viewer.
    """

    def __init__(self, node: Node) -> None:
        self._template = node.settings.viewer_url
        self._records = node.store.records

    def prediction(self, round_id: int) -> str:
        """Series Instance UID of a round's prediction; empty where it has none, or where there is no viewer to open it."""
        if not self._template:
            return ""
        results = self._records.results_of(round_id)
        return next((result.series_instance_uid for result in results if result.kind == PREDICTION), "")

    def to(self, case: Case | None, instance: str = "", prediction: str = "") -> str:
        """Address at which the viewer opens a case.

        Args:
            case: the case; None for none.
            instance: SOP Instance UID of the slice to open at; empty for the viewer's choice.
            prediction: Series Instance UID of the prediction to lay over it; empty for none.

        Returns:
            An address, see :func:`learner.domain.viewer_link.viewer_link`; empty without a viewer or a case, and where the
            case's study was forgotten.
        """
        if case is None or not case.study_instance_uid:
            return ""
        study, series = case.study_instance_uid, case.series_instance_uid
        return viewer_link(self._template, study, series=series, instance=instance, segmentation=prediction)
