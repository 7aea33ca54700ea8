BEGIN TRANSACTION;
CREATE TABLE "cases" (
    case_id INTEGER PRIMARY KEY, task_id TEXT NOT NULL, study_uid TEXT NOT NULL, series_uid TEXT NOT NULL,
    part TEXT NOT NULL DEFAULT '', UNIQUE (task_id, series_uid, part)) STRICT;
INSERT INTO "cases" VALUES(7,'liver','1.1','5.1','');
INSERT INTO "cases" VALUES(8,'liver','1.2','5.2','EchoTime 30');
CREATE TABLE checkpoints (
    name TEXT PRIMARY KEY, task_id TEXT NOT NULL, number INTEGER NOT NULL, parent TEXT NOT NULL, path TEXT NOT NULL,
    sha256 TEXT NOT NULL, round_id INTEGER NOT NULL, steps INTEGER NOT NULL, created_at REAL NOT NULL, facts TEXT NOT NULL,
    kept INTEGER NOT NULL DEFAULT 1, UNIQUE (task_id, number)) STRICT;
INSERT INTO "checkpoints" VALUES('liver-1','liver',1,'','checkpoints/liver/000001-x.pt','x',3,20,1005.0,'{"loss_last": 0.3}',1);
INSERT INTO "checkpoints" VALUES('liver-2','liver',2,'liver-1','checkpoints/liver/000002-y.pt','y',3,40,1006.0,'{}',1);
CREATE TABLE cursor (feed TEXT PRIMARY KEY, position INTEGER NOT NULL) STRICT;
INSERT INTO "cursor" VALUES('changes',41);
CREATE TABLE flags (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
INSERT INTO "flags" VALUES('training_paused','yes');
CREATE TABLE jobs (
    job_id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, round_id INTEGER NOT NULL REFERENCES rounds,
    state TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, not_before REAL NOT NULL DEFAULT 0,
    lease TEXT NOT NULL DEFAULT '', expires REAL NOT NULL DEFAULT 0, reason TEXT NOT NULL DEFAULT '',
    UNIQUE (kind, round_id)) STRICT;
INSERT INTO "jobs" VALUES(1,'respond',3,'done',1,0.0,'',0.0,'');
INSERT INTO "jobs" VALUES(2,'learn',3,'done',1,0.0,'',0.0,'');
INSERT INTO "jobs" VALUES(3,'learn',4,'parked',5,0.0,'',0.0,'its example does not have its hash');
INSERT INTO "jobs" VALUES(4,'respond',9,'leased',1,0.0,'x',1000000000000.0,'');
CREATE TABLE results (
    sop_uid TEXT PRIMARY KEY, series_uid TEXT NOT NULL, round_id INTEGER NOT NULL REFERENCES rounds, kind TEXT NOT NULL,
    path TEXT NOT NULL, sent_at REAL, deleted_at REAL) STRICT;
INSERT INTO "results" VALUES('2.1','3.1',3,'prediction','outbox/2.1.dcm',1004.0,NULL);
INSERT INTO "results" VALUES('2.2','3.2',4,'prediction','outbox/2.2.dcm',1013.0,NULL);
CREATE TABLE rounds (
    round_id INTEGER PRIMARY KEY AUTOINCREMENT, trigger_uid TEXT NOT NULL UNIQUE, series_uid TEXT NOT NULL,
    source_uid TEXT NOT NULL DEFAULT '', state TEXT NOT NULL, case_id INTEGER REFERENCES cases, number INTEGER,
    reason TEXT NOT NULL DEFAULT '', reader TEXT NOT NULL DEFAULT '', checkpoint TEXT NOT NULL DEFAULT '',
    received_at REAL NOT NULL, answered_at REAL, facts TEXT NOT NULL DEFAULT '{}') STRICT;
INSERT INTO "rounds" VALUES(3,'a','9.1','','answered',7,1,'','Reader A','',1000.0,1004.0,'{"annotation_uid": "9.1.1", "drawn_slices": [3, 9]}');
INSERT INTO "rounds" VALUES(4,'b','9.2','','answered',8,1,'','Reader B','liver-1',1010.0,1013.0,'{"annotation_uid": "9.2.1"}');
INSERT INTO "rounds" VALUES(5,'c','9.3','','refused',NULL,NULL,'nothing is drawn in it','','',1020.0,NULL,'{}');
INSERT INTO "rounds" VALUES(6,'d','9.4','5.9','waiting',NULL,NULL,'its images are not there','','',1030.0,NULL,'{}');
INSERT INTO "rounds" VALUES(9,'e','9.5','','queued',7,2,'','','',1040.0,NULL,'{}');
CREATE TABLE series (series_uid TEXT PRIMARY KEY, digest TEXT NOT NULL) STRICT;
INSERT INTO "series" VALUES('5.1','d1');
CREATE TABLE task_labels (task_id TEXT PRIMARY KEY, labels TEXT NOT NULL) STRICT;
INSERT INTO "task_labels" VALUES('liver','[]');
CREATE TABLE tasks (task_id TEXT PRIMARY KEY, definition TEXT NOT NULL) STRICT;
INSERT INTO "tasks" VALUES('made','{"task_id": "made", "title": "Made", "labels": [], "match": {"modalities": ["MR"]}}');
CREATE INDEX rounds_case ON rounds (case_id);
CREATE INDEX rounds_source ON rounds (source_uid) WHERE state = 'waiting';
CREATE INDEX results_series ON results (series_uid);
CREATE INDEX results_round ON results (round_id);
CREATE INDEX jobs_open ON jobs (kind, state, job_id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('rounds',9);
INSERT INTO "sqlite_sequence" VALUES('jobs',4);
COMMIT;
PRAGMA user_version = 2;
