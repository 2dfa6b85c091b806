"""A filter of the log messages of Apache Beam."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def short_beam_log() -> Iterator[None]:
    """Suppress some log messages of Beam while the block runs.

    These are the traceback of a worker's error, which is also raised and reported in one line, and
    messages without a logger name, about optional modules that are missing.
    """
    left_out = {
        logging.getLogger("apache_beam.runners.common"): _is_no_error,
        logging.getLogger(): _is_not_beams,
    }
    for logger, rule in left_out.items():
        logger.addFilter(rule)
    try:
        yield
    finally:
        for logger, rule in left_out.items():
            logger.removeFilter(rule)


def _is_no_error(record: logging.LogRecord) -> bool:
    return not record.exc_info


def _is_not_beams(record: logging.LogRecord) -> bool:
    return "apache_beam" not in record.pathname
