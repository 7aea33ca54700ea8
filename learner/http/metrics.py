"""Metrics for Prometheus, read from the store at each scrape: they are right after a restart, too."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from learner import operations
from learner.app.drift import drift_of_task
from learner.app.serving import serving_version
from learner.node import Node
from learner.version import __version__

_BOUNDS_S = (1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 3600.0)


class NodeCollector(Collector):
    """Collects the metrics of a node."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def collect(self) -> Iterator[Metric]:
        """All metrics as they are now."""
        yield InfoMetricFamily("apprentice", "The node.", value={"version": __version__})
        yield from self._state()
        yield from self._work()
        yield self._answer_seconds()

    def _state(self) -> Iterator[Metric]:
        status = self._node.status()
        paused = operations.training_paused(self._node.store)
        yield GaugeMetricFamily("apprentice_archive_up", "1 while the archive can be read.", float(not status.archive_error))
        yield GaugeMetricFamily(
            "apprentice_store_up", "1 while the node's own store can be used.", float(not status.store_error)
        )
        free = "Bytes free on the disk of the data folder."
        yield GaugeMetricFamily("apprentice_disk_free_bytes", free, float(status.disk_free_mb * 2**20))
        waits = "1 while nothing is learned because less than node.min_free_mb is free."
        yield GaugeMetricFamily("apprentice_learning_waits_for_space", waits, float(bool(status.learning_waits)))
        yield GaugeMetricFamily("apprentice_trainer_up", "1 while the trainer runs.", float(status.trainer_alive))
        restarts = "How often the trainer was started again."
        yield CounterMetricFamily("apprentice_trainer_restarts", restarts, status.trainer_restarts)
        gave_way = "Seconds that answers have waited while the archive went first."
        yield CounterMetricFamily("apprentice_gave_way_seconds", gave_way, status.gave_way_s)
        yield GaugeMetricFamily("apprentice_training_paused", "1 while training is held back.", float(paused))
        if status.last_intake_at is not None:
            what = "POSIX time at which the archive's log was last read to its end."
            yield GaugeMetricFamily("apprentice_last_intake_timestamp_seconds", what, status.last_intake_at)

    def _work(self) -> Iterator[Metric]:
        store = self._node.store
        rounds = GaugeMetricFamily("apprentice_rounds", "Rounds by state.", labels=["state"])
        for state, count in store.queries.round_counts().items():
            rounds.add_metric([state], count)
        jobs = GaugeMetricFamily("apprentice_jobs", "Jobs by kind and state.", labels=["kind", "state"])
        for (kind, state), count in store.queries.job_counts().items():
            jobs.add_metric([kind, state], count)
        steps = CounterMetricFamily("apprentice_training_steps", "Training steps of the serving version.", labels=["task"])
        for task in self._node.tasks:
            serving = serving_version(store.checkpoints, task)
            steps.add_metric([task.task_id], serving.steps if serving is not None else 0)
        yield from (rounds, jobs, steps, self._drift())

    def _drift(self) -> Metric:
        what = "Need of correction against what was usual: an alarm from 1 on. By task, site (keyed hash) and measure."
        drift = GaugeMetricFamily("apprentice_drift", what, labels=["task", "site", "measure"])
        for task in self._node.tasks:
            for one in drift_of_task(self._node.store.records, task.task_id):
                drift.add_metric([task.task_id, one.site[:8], one.measure], one.drift.level)
        return drift

    def _answer_seconds(self) -> Metric:
        seconds = self._node.store.queries.answer_seconds(_BOUNDS_S)
        buckets = [(f"{bound:g}", float(count)) for bound, count in zip(_BOUNDS_S, seconds.within, strict=True)]
        what = "Seconds from a trigger to the whole answer standing in the archive."
        return HistogramMetricFamily(
            "apprentice_answer_seconds", what, [*buckets, ("+Inf", float(seconds.count))], seconds.total_s
        )


def registry(node: Node) -> CollectorRegistry:
    """A registry of its own with the metrics of a node."""
    made = CollectorRegistry()
    made.register(NodeCollector(node))
    return made
