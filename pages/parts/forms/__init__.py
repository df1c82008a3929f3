"""Forms made from a JSON schema, and from a state."""
