"""What every worker process is made of: its context, its scaffold, its start, its control line.

The supervisor starts a worker by dotted name through `bootstrap`; `worker` runs the service inside it:
beats, messages, orderly end. `control` is how commands and the dashboard talk to the supervisor.
"""
