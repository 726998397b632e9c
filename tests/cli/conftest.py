"""The data and the runs of the end-to-end tests serve here as well."""

from tests.end_to_end.conftest import finished, study

__all__ = ["finished", "study"]
