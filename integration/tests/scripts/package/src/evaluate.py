"""Measures, except in round 1 at client c1: there it fails in the way that the job's parameter names."""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import handover
import ways

task = handover.TASK
assert task["mode"] == "evaluate" and not os.path.exists(handover.WEIGHTS), task
print(f"evaluation of round {task['round']} at {task['client']}", flush=True)
way = sys.argv[sys.argv.index("--evaluate-way") + 1]
if (task["client"], task["round"]) == ("c1", 1):
    getattr(ways, way)()
else:
    with open(handover.FOLDER + "/out/metrics.json", "w") as file:
        json.dump({"sample_num": 10, "accuracy": sum(handover.base()) / 100}, file)
