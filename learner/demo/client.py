"""What the demo asks of the learner's API."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx2

from learner.demo.errors import DemoError
from learner.domain.case import RoundState

_OPEN_JOBS = ("ready", "leased", "blocked")
OVER = frozenset({RoundState.ANSWERED, RoundState.UNCHANGED, RoundState.REFUSED, RoundState.WITHDRAWN})
"""States in which nothing more happens to a round by itself."""


@dataclass(frozen=True, slots=True)
class RoundStatus:
    """A round as the API tells it.

    Attributes:
        round_id: its number.
        state: where it stands.
        reason: why it is refused or waits.
        prediction_series: series of the prediction that it gave, empty before.
        guidance: SOP Instance UIDs of the slices worth drawing next, best first.
        learned: whether nothing of it is left to learn.
        given_up: why its answer was given up, empty where it was not.
    """

    round_id: int
    state: RoundState
    reason: str
    prediction_series: str
    guidance: tuple[str, ...]
    learned: bool
    given_up: str


class NodeClient:
    """The learner's HTTP API on loopback.

    Args:
        url: its base address.
    """

    def __init__(self, url: str) -> None:
        self._client = httpx2.Client(base_url=url, timeout=30.0, trust_env=False)

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def ready(self) -> bool:
        """Whether it serves and has read the archive."""
        try:
            return self._client.get("/health/ready").status_code == httpx2.codes.OK
        except httpx2.TransportError:
            return False

    def serving(self, task_id: str) -> str:
        """Name of the checkpoint that serves a task, empty for none."""
        tasks = self._json("/api/tasks")
        return next((t["serving"]["name"] for t in tasks if t["task_id"] == task_id and t["serving"] is not None), "")

    def undrawn_round(self, series_uid: str) -> RoundStatus | None:
        """Round 0 of an image series, or None before it is known."""
        return self._newest(series_uid, lambda told: told["number"] == 0)

    def round_of(self, annotation_series_uid: str) -> RoundStatus | None:
        """The round of an annotation object that is alone in its series, or None before it is known."""
        return self._newest(annotation_series_uid, lambda _told: True)

    def round_by_id(self, round_id: int) -> RoundStatus | None:
        """The round of that number."""
        return self._detail(f"/api/rounds/{round_id}")

    def _newest(self, series_uid: str, wanted: Callable[[Any], bool]) -> RoundStatus | None:
        rounds = [told for told in self._json(f"/api/series/{quote(series_uid)}/rounds") if wanted(told)]
        return self._detail(f"/api/rounds/{rounds[0]['round_id']}") if rounds else None

    def _detail(self, path: str) -> RoundStatus | None:
        found = self._json(path, missing=None)
        if found is None:
            return None
        told, guidance = found["round"], found["round"]["facts"].get("guidance") or []
        series = [r["series_instance_uid"] for r in found["results"] if r["kind"] == "prediction"]
        learning = [job["state"] for job in found["jobs"] if job["kind"] == "learn"]
        return RoundStatus(
            round_id=int(told["round_id"]),
            state=RoundState(told["state"]),
            reason=str(told["reason"]),
            prediction_series=series[0] if series else "",
            guidance=tuple(one["sop_instance_uid"] for one in guidance if one["axis"] == 0),
            learned=not any(state in _OPEN_JOBS for state in learning),
            given_up=next((j["reason"] for j in found["jobs"] if j["kind"] == "respond" and j["state"] == "parked"), ""),
        )

    def _json(self, path: str, **default: Any) -> Any:
        """The answer as JSON, or the keyword argument ``missing`` for what is not there.

        Raises:
            DemoError: it does not answer, or with an error.
        """
        try:
            answer = self._client.get(path)
        except httpx2.TransportError as error:
            raise DemoError(f"the learner does not answer ({type(error).__name__}); see its log") from None
        if answer.status_code == httpx2.codes.NOT_FOUND and "missing" in default:
            return default["missing"]
        if answer.status_code != httpx2.codes.OK:
            raise DemoError(f"the learner answered {path} with status {answer.status_code}; see its log")
        return answer.json()
