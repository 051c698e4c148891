"""The dashboard: a process of its own that shows the service to people and other programs.

It reads shared memory and the two databases and writes neither: it can't slow or break trading, and it goes on while
the engine restarts. Commands travel over the supervisor's control line like everybody else's.
"""
