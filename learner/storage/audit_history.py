"""What a store of an earlier version knows of what happened, as the beginning of its audit record."""

from __future__ import annotations

import json
import sqlite3

from learner.domain.audit import Event
from learner.domain.trigger import withdrawn_round
from learner.storage.audit import SqliteAudit
from learner.storage.database import Database

_NOT_BEGUN = """
SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM audit) AND (EXISTS (SELECT 1 FROM rounds) OR EXISTS (SELECT 1 FROM checkpoints))
"""
_ROUNDS = """
SELECT rounds.*, task_id, study_uid, cases.series_uid AS image_uid,
    (SELECT json_group_object(kind, uids) FROM (SELECT kind, json_group_array(sop_uid) AS uids FROM results
        WHERE results.round_id = rounds.round_id GROUP BY kind)) AS result_uids
FROM rounds JOIN cases USING (case_id) WHERE state IN ('computed', 'answered') ORDER BY round_id
"""


def take_over_history(database: Database, audit: SqliteAudit) -> int:
    """Writes answers, withdrawals and versions from before there was an audit record into it, each with its own time.

    These entries say ``taken_over``: until then nothing kept the tables that they come from unchanged.

    Returns:
        Number of entries.
    """
    if database.row(_NOT_BEGUN) is None:
        return 0
    with database.transaction():
        if database.row(_NOT_BEGUN) is None:  # another process was first
            return 0
        rounds, versions = database.rows(_ROUNDS), database.rows("SELECT * FROM checkpoints ORDER BY created_at, number")
        for row in rounds:
            _take_round(audit, row)
        for row in versions:
            _take_version(audit, row)
    return len(rounds) + len(versions)


def _take_round(audit: SqliteAudit, row: sqlite3.Row) -> None:
    facts = json.loads(row["facts"])
    told = {
        "taken_over": True,
        "annotation": facts.get("annotation_uid", ""),
        "reader": row["reader"],
        "case": row["case_id"],
        "task": row["task_id"],
        "number": row["number"],
        "study": row["study_uid"],
        "series": row["image_uid"],
        "checkpoint": row["checkpoint"],
        "results": {kind: json.loads(uids) for kind, uids in json.loads(row["result_uids"] or "{}").items()},
    }
    audit.record_at(row["received_at"], Event.ANSWERED, round_id=row["round_id"], facts=told)
    if facts.get("withdrawn") and withdrawn_round(row["trigger_uid"]) is None:
        by = {
            "taken_over": True,
            "by": facts.get("withdrawn_by", ""),
            "where": "node" if "withdrawn_by" in facts else "archive",
        }
        audit.record_at(row["received_at"], Event.WITHDRAWN, round_id=row["round_id"], facts=by)


def _take_version(audit: SqliteAudit, row: sqlite3.Row) -> None:
    facts, gate = json.loads(row["facts"]), json.loads(row["gate"])
    told = {name: row[column] for name, column in (("model", "model_id"), ("parent", "parent"), ("steps", "steps"))}
    told |= {"sha256": row["sha256"], "taken_over": True}
    event = Event.FORGOTTEN if "forgotten" in facts else Event.LEARNED
    if "origin" in facts:
        event, told["origin"] = Event.BEGUN, facts["origin"]
    audit.record_at(row["created_at"], event, round_id=row["round_id"] or None, version=row["name"], facts=told)
    if gate:
        verdict = {name: gate.get(name) for name in ("serve", "reason", "tasks", "cases", "slices")}
        audit.record_at(
            row["created_at"],
            Event.JUDGED,
            version=row["name"],
            facts={**verdict, "model": row["model_id"], "taken_over": True},
        )
