"""Data: opening sources, checking them against a schema, dividing them into parts, and preparing inputs for models."""
