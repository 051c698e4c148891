"""Risk: the shell over the core's checks. Limits in force, verdicts, and the switches that halt entries."""
