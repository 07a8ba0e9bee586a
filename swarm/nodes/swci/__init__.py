"""The command interface (SWCI): commands of people and scripts, read, run against the ledger, and answered in text."""
