"""The benchmark runs through and compares; what its figures are is not a test's business."""

import json
import os
import subprocess

from mesh import ROOT

RUN = os.path.join(ROOT, "tests", "bench", "run")


def test_the_benchmark_prints_each_figure_beside_its_raw_limit(tmp_path):
    path = tmp_path / "figures.json"
    done = subprocess.run([RUN, "--quick", "--only", "hook,latency", "--json", str(path)],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for word in ("kernel", "disk", "feeder", "settings", "p50", "p99", "raw: ", "goal"):
        assert word in done.stdout
    figures = json.loads(path.read_text())["figures"]
    assert set(figures) == {"hook", "latency"}
    for figure in figures.values():
        assert figure["ratios"] and all(ratio["value"] > 0 for ratio in figure["ratios"])
    values = figures["latency"]["values"]
    assert 0 < values["visible.p50"] <= values["synced.p50"]
    assert values["sum.p50"] > values["process.p50"] + values["commit-full.p50"] > 0


def test_the_benchmark_refuses_a_figure_that_there_is_not():
    done = subprocess.run([RUN, "--only", "speed"], stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert "no figure speed" in done.stderr
