"""Balancing methods: one file each, found because the file is there."""
