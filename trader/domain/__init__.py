"""What flows through the service: frozen values of the standard library's types only."""
