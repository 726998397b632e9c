"""Encoders: one file each, found because the file is there."""
