"""What holds for all tests of serving."""

from tests.validation_in_process import validation_in_process

__all__ = ["validation_in_process"]
