"""The configuration: one YAML file, read, checked, compared and documented from one set of models."""
