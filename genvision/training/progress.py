"""The progress bar: step, loss, images per second, time left; on stderr of the main process."""

from __future__ import annotations

import sys

from tqdm import tqdm

from genvision.training.report import StepReport

# tqdm puts ", " before the postfix, and takes no time left for none
WITHOUT_END = "step {n_fmt}, {elapsed} gone{postfix}"
WITH_END = "step {n_fmt}/{total_fmt} |{bar}| {elapsed} gone, {remaining} left{postfix}"


class Progress:
    """A bar over optimizer steps.

    total    steps of the run; None while a budget in minutes is unmeasured
    start    steps already made
    enabled  False on all processes but the main one
    """

    def __init__(self, total: int | None, start: int = 0, enabled: bool = True) -> None:
        interval = 0.2 if sys.stderr.isatty() else 10.0  # a log file wants lines by the dozen, not by the thousand
        self._bar = tqdm(
            total=total,
            initial=start,
            disable=not enabled,
            mininterval=interval,
            dynamic_ncols=True,
            file=sys.stderr,
            bar_format=WITHOUT_END,
        )

    def update(self, report: StepReport, total: int | None) -> None:
        """Moves the bar to the report's step; `total` as the state knows it by now."""
        self._bar.total, self._bar.bar_format = total, WITHOUT_END if total is None else WITH_END
        self._bar.set_postfix_str(f"loss {report.loss:.4f}, {report.images_per_second:.0f} images/s", refresh=False)
        self._bar.update(report.step - self._bar.n)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
