"""Trained models: predicting, saving, loading."""
