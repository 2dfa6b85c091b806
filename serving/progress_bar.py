"""A bar of how far a fit is, on a terminal or in a notebook."""

from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.console import Console

    from kmeans_module import Progress


class ProgressBar:
    """Shows the iterations of a fit while it runs::

        with ProgressBar() as bar:
            result = fit(points, 8, on_iteration=bar)

    It goes to stderr, or below the cell of a notebook, and leaves its last state there.
    """

    def __init__(self, console: "Console | None" = None) -> None:
        """Take the console to write to; by default stderr, or the notebook."""
        from rich.console import Console
        from rich.progress import Progress

        self._bar = Progress(console=console or Console(stderr=True))
        self._task = self._bar.add_task("fitting", total=1.0)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._bar.update(self._task, completed=1.0)
        self._bar.stop()

    def __call__(self, now: "Progress") -> None:
        """Show the iteration that has ended; ``fit`` calls it."""
        start = f"start {now.start} of {now.n_init}, " if now.n_init > 1 else ""
        self._bar.update(
            self._task,
            completed=(now.start - 1 + now.iteration / now.max_iter) / now.n_init,
            description=f"{start}iteration {now.iteration}, inertia {now.inertia:.6g}",
        )
