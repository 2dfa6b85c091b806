"""A filter of what Apache Beam logs."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def short_beam_log() -> Iterator[None]:
    """Leave out of the log, while the block runs, some words of Beam.

    That is the traceback of an error of a worker, which is raised as well and told in one line; and
    what Beam says without the name of a logger, which is of modules that it does without.
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
