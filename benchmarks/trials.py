"""What a trial of a sweep takes beside its training: many tiny ones of a small drawn corpus, one process each.

Run as `python benchmarks/trials.py [TRIALS]`. A trial's time is from the start of its run to its end, evaluation and checkpoints
included; the sweep's, over its trials and the processes that ran them side by side, has what lies between them, too.
"""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "integration")]
SPACE = {"units": [4, 8, 16], "model": {"cell": ["gru", "lstm"]}, "train": {"lr": {"min": 1e-3, "max": 0.05, "log": True}}}


def main() -> None:
    from project import sweep_runs, swept_project

    num_trials = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    options = {"trials": num_trials, "epochs": 1, "searcher": "random", "stopper": "none", "seeds": 0, "space": SPACE}
    with tempfile.TemporaryDirectory() as folder:
        project = swept_project(Path(folder), **options)
        begun = time.monotonic()
        project.run("sweep")
        whole = time.monotonic() - begun
        parent, runs = sweep_runs(project)
    ended = [run for run in runs if run.data.tags["trial_state"] == "finished"]
    runs = [run for run in ended if run.data.tags["trial"] != parent.data.tags["best_trial"]]  # whose run is opened again
    took = [(run.info.end_time - run.info.start_time) / 1000 for run in runs]
    training = [run.data.metrics["train/seconds"] for run in runs]
    beside = [wall - seconds for wall, seconds in zip(took, training, strict=True)]
    between = (max(run.info.end_time for run in runs) - min(run.info.start_time for run in runs)) / 1000
    slots = min(os.cpu_count() or 1, num_trials)
    print(f"{len(ended)} of {num_trials} trials ended well; the sweep took {whole:.0f} s")
    print(f"training                     {statistics.median(training):6.2f} s a trial (median)")
    print(f"a trial beside its training  {statistics.median(beside):6.2f} s (median; {min(beside):.2f} to {max(beside):.2f})")
    print(f"with what lies between two   {between * slots / num_trials - statistics.mean(training):6.2f} s (mean)")


if __name__ == "__main__":
    main()
