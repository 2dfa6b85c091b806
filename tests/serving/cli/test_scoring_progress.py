"""What is said of a job's progress."""

from serving.cli.scoring_progress import ScoringProgress


def test_a_part_without_rows_is_no_fault() -> None:
    progress = ScoringProgress(lambda *_: None, 40)
    progress.on_rows(0)
    progress.on_rows(40)
