"""Comparing methods fairly: the same splits, the same seeds, statistics that allow for overlapping training sets."""
