"""What the API tells of the node itself: how its parts are, what waits, what serves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict, Field

from learner.app.drift import DriftOfSeries

if TYPE_CHECKING:  # commands that only look load no writers of DICOM objects
    from learner.node import NodeStatus


class _View(BaseModel):
    model_config = ConfigDict(frozen=True, from_attributes=True)


class NodeView(_View):
    """How the node's parts are."""

    archive_error: str = Field(description="Why the archive cannot be read; empty while it can.")
    trainer_alive: bool
    trainer_restarts: int
    last_intake_at: float | None = Field(description="POSIX time at which the archive's log was last read to its end.")
    last_nudge_at: float | None = Field(None, description="POSIX time at which somebody last said that something arrived.")
    store_error: str = Field("", description="Why the node's own store cannot be used, and the remedy; empty while it can.")
    learning_waits: str = Field("", description="Why nothing is learned for want of disk space; empty while there is enough.")
    disk_free_mb: int = Field(0, description="MiB free on the disk of the data folder.")

    @classmethod
    def of(cls, status: NodeStatus) -> Self:
        """The view of a status."""
        return cls.model_validate(status)


class JobCount(_View):
    """How many jobs of a kind are in a state."""

    kind: str
    state: str
    count: int


class DriftView(_View):
    """The control chart of one series of measurements."""

    site: str = Field(description="Keyed hash of the site; empty for all together.")
    measure: str = Field(description="`foresight`, `estimated_dice` or `unchanged`.")
    level: float = Field(description="0 is as ever; from 1 on, values are lower than they used to be.")
    alarm: bool
    count: int = Field(description="Number of values.")

    @classmethod
    def of(cls, series: DriftOfSeries) -> Self:
        """The view of a chart."""
        chart = series.drift
        level = round(chart.level, 3)
        return cls(site=series.site, measure=series.measure, level=level, alarm=chart.alarm, count=chart.count)


class ServingView(_View):
    """What serves a task, and how well."""

    task_id: str
    title: str
    model_id: str = Field(description="Its model.")
    checkpoint: str = Field(description="Name of the version; empty while none serves.")
    steps: int = Field(description="Its training steps.")
    newest: str = Field(description="Name of the model's newest version; empty before the first.")
    newest_state: str = Field(description="Where that stands: `shadow`, `serving`, `retired` or `rolled-back`.")
    gate: str = Field(description="What the gate said of the newest version, in one line; empty before it was judged.")
    drift: tuple[DriftView, ...] = Field(description="Measurements that may tell that answers need more correction.")


class StatusView(_View):
    """The node at a glance."""

    version: str
    node: NodeView
    training_paused: bool
    rounds: dict[str, int] = Field(description="Number of rounds by state.")
    jobs: tuple[JobCount, ...]
    tasks: tuple[ServingView, ...]
    viewer_url: str = Field(description="Address of a study in a viewer, with places for what to open; empty for none.")
