"""A progress bar of a fit, on a terminal or in a notebook."""

import time
from html import escape
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from rich.console import Console

    from kmeans_module import Progress

#: Seconds between two updates in a notebook.
_REFRESH: Final = 0.1


class ProgressBar:
    """Shows the iterations of a fit while it runs.

    The bar is on stderr or below the cell of a notebook; its last state stays there.

    Args:
        console: the console of the bar; by default stderr, or the notebook.

    Example:
        >>> from tfkmeans import ProgressBar, fit
        >>> with ProgressBar() as bar:
        ...     result = fit([[0.0], [1.0], [9.0]], 2, on_iteration=bar)
    """

    def __init__(self, console: "Console | None" = None) -> None:
        from rich.console import Console

        console = console or Console(stderr=True)
        self._bar = _NotebookBar() if console.is_jupyter else _TerminalBar(console)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop(is_done=kind is None)

    def __call__(self, now: "Progress") -> None:
        """Show the last iteration; ``fit`` calls this."""
        start = f"start {now.start} of {now.n_init}, " if now.n_init > 1 else ""
        self._bar.show(
            (now.start - 1 + now.iteration / now.max_iter) / now.n_init,
            f"{start}iteration {now.iteration}, inertia {now.inertia:.6g}",
        )


class _TerminalBar:
    """The bar of rich."""

    def __init__(self, console: "Console") -> None:
        from rich.progress import Progress

        self._bar = Progress(console=console)
        self._task = self._bar.add_task("fitting", total=1.0)

    def start(self) -> None:
        self._bar.start()

    def show(self, share: float, text: str) -> None:
        self._bar.update(self._task, completed=share, description=text)

    def stop(self, *, is_done: bool) -> None:
        if is_done:
            self._bar.update(self._task, completed=1.0)
        self._bar.stop()


class _NotebookBar:
    """A bar in HTML: the bar of rich needs widgets, which a saved notebook does not keep."""

    def __init__(self) -> None:
        self._share, self._text, self._shown_at = 0.0, "fitting", 0.0
        self._output: Any = None

    def start(self) -> None:
        from IPython.display import display

        self._output = display(self, display_id=True)

    def show(self, share: float, text: str) -> None:
        self._share, self._text = share, text
        if time.monotonic() - self._shown_at >= _REFRESH:
            self._update()

    def stop(self, *, is_done: bool) -> None:
        if is_done:
            self._share = 1.0
        self._update()

    def _update(self) -> None:
        self._shown_at = time.monotonic()
        self._output.update(self)

    def __repr__(self) -> str:
        return f"{self._share:.0%} {self._text}"

    def _repr_html_(self) -> str:
        bar = f'<progress value="{self._share:.3f}" max="1"></progress>'
        return f"{bar} {self._share:.0%} {escape(self._text)}"
