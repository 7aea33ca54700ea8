"""The acceptance test: a simulated reader, a stream of cases, and what it took and gave."""

from learner.evaluation.report import CaseResult, SimulationReport
from learner.evaluation.simulate import LiveTrainer, Progress, SimulationSettings, simulate

__all__ = ["CaseResult", "LiveTrainer", "Progress", "SimulationReport", "SimulationSettings", "simulate"]
