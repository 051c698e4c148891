"""Recovery: what an error means, and when entries pause because of it."""
