"""A run's score for other draws of the same weights: what another sampling seed, or other steps, would change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from genvision.config.schema import Config
from genvision.errors import ConfigError, RunError
from genvision.evaluation.draws import FOLDER
from genvision.evaluation.protocol import protocol_hash
from genvision.evaluation.record import Record, build_record, read_record, write_record
from genvision.evaluation.seeds import over_sampling_seeds
from genvision.families.base import Family
from genvision.pipelines import ImageGenerationPipeline, load
from genvision.run_folder import RunFolder
from genvision.sampling import own_device, processes
from genvision.scoring import Drawn, draw, score_as_recorded


def resample(run: Path, seeds: Sequence[int], steps: Sequence[int]) -> str:
    """Draw from a finished run once for each seed and each number of steps, and score as the run itself was scored.

    Each score becomes a record of its own in RUN/scores/, named by its protocol; one that is there is not made again,
    so that an interrupted command goes on. Returns a line for each, and one for all sampling seeds.
    Raises RunError for a run without a score, ConfigError for steps where the family's sampler has none.
    """
    folder = RunFolder(run)
    config, record = folder.read_config(), read_record(folder.result)
    if record["status"] != "finished" or not record["metrics"]:
        raise RunError(f"{folder.result} has no score, so there is none to repeat; see genvision score")
    if not (seeds or steps):
        raise ConfigError("genvision leaderboard resample needs --seeds or --steps, such as --seeds 1,2")
    pipeline = load(run).to(own_device())
    if steps:
        pipeline.generator.check_options(["steps"])
    own = record["protocol"]["sampling"]
    asked = [own | {"seed": seed} for seed in seeds] + [own | {"steps": count} for count in steps]
    kept = [_kept(folder, config, record, pipeline, sampling) for sampling in asked if sampling != own]
    return "\n".join(_lines(record, kept))


def draw_as(pipeline: ImageGenerationPipeline, n: int, sampling: dict[str, Any]) -> Drawn:
    """n images as the run drew its own, but with the seed and the steps of a protocol's sampling part."""
    settings = dict(pipeline.config.sampling)
    if "steps" in pipeline.generator.sample_options:
        settings["steps"] = sampling["steps"]
    return draw(pipeline.generator, n, sampling["seed"], settings)


def _kept(
    folder: RunFolder, config: Config, record: Record, pipeline: ImageGenerationPipeline, sampling: dict[str, Any]
) -> Record:
    protocol = record["protocol"] | {"sampling": sampling}
    path = folder.path / FOLDER / f"{protocol_hash(protocol)}.json"
    if path.is_file():
        return read_record(path)
    n = protocol["num_images"]
    drawn = draw_as(pipeline, n, sampling)
    scored = score_as_recorded(config, drawn.images, sampling)
    if protocol_hash(scored.protocol) != path.stem:
        raise RunError(
            f"{folder.result}: what it was scored with is not here any more; see leaderboard verify {folder.path}"
        )
    fields = {name: value for name, value in record.items() if name != "schema"} | {
        "protocol": scored.protocol,
        "protocol_hash": path.stem,
        "metrics": scored.metrics,
        "anchors": None,
        "sample_seconds": drawn.seconds,
        "sampled_images": n,
        "network_evaluations_per_image": _evaluations(pipeline.generator, config, sampling),
    }
    again = build_record(**fields)
    if processes().is_main_process:
        write_record(again, path)
    return again


def _evaluations(family: Family, config: Config, sampling: dict[str, Any]) -> int:
    own = {name: getattr(config.sample, name) for name in family.sample_options}
    return family.network_evaluations(**own | ({"steps": sampling["steps"]} if "steps" in own else {}))


def _lines(record: Record, kept: list[Record]) -> Iterator[str]:
    for each in (record, *kept):
        sampling, metric = each["protocol"]["sampling"], each["metrics"]["frechet"]
        steps = "" if sampling["steps"] is None else f", {sampling['steps']} steps"
        yield f"seed {sampling['seed']}{steps}: {metric['name']} {metric['value']:.4f}"
    if found := over_sampling_seeds(record | {"draws": kept}):
        name, spread = record["metrics"]["frechet"]["name"], found["frechet"]
        low, high = spread["interval"]
        yield f"over {len(found['seeds'])} sampling seeds: mean {name} {spread['mean']:.4f} [{low:.4f}, {high:.4f}]"
