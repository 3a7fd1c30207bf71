"""migrations -- from an empty database to the models."""
