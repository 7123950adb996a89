"""What the training loop says about one optimizer step."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StepReport:
    """Numbers of one optimizer step, on the host.

    step               counts from 1
    images_seen        examples over all processes since the start of the run
    lr                 learning rate of this step
    terms              the family's loss terms, averaged over the global batch
    grad_norm          global norm of the gradient before clipping
    images_per_second  over all processes, of this step alone
    skipped_steps      steps so far whose loss or gradient was not finite, passed over (train.max_bad_steps)
    seconds            how long this step took; what the consumer does between steps is not counted
    """

    step: int
    images_seen: int
    lr: float
    terms: dict[str, float]
    grad_norm: float
    images_per_second: float
    seconds: float
    skipped_steps: int = 0

    @property
    def loss(self) -> float:
        """The term that is minimised."""
        return self.terms["loss"]

    def record(self) -> dict[str, float]:
        """The step's line of metrics.jsonl: all of it, flat; the last two are timings. Steps passed over where any."""
        return {
            "step": self.step,
            "images_seen": self.images_seen,
            **self.terms,
            "lr": self.lr,
            "grad_norm": self.grad_norm,
            **({"skipped_steps": self.skipped_steps} if self.skipped_steps else {}),
            "images_per_second": self.images_per_second,
            "seconds": self.seconds,
        }
