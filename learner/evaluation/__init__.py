"""The evaluation: streams of cases, simulated readers, and what it took and gave. See docs/evaluation.md."""
