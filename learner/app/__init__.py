"""Use cases: intake, respond, learn, worker, housekeeping. No torch, no SQL, no HTTP in here."""
