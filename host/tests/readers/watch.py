"""Opens a Delta table every 100 ms, from when it is there until standard input ends, and reads the file that it names
last. Prints how often, and how many seconds it takes to open it at its end; an error, or a table that has fewer rows than
before, ends it."""

import json
import os
import sys
import threading
import time

import pyarrow
from deltalake import DeltaTable
from pyarrow import parquet

path = sys.argv[1]
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
times, rows = 0, 0
while not ended.is_set():
    began = time.monotonic()
    if os.path.exists(os.path.join(path, "_delta_log", "00000000000000000000.json")):
        files = pyarrow.table(DeltaTable(path).get_add_actions(flatten=True)).to_pylist()
        found = sum(file["num_records"] for file in files)
        assert found >= rows, f"{found} rows after {rows}"
        if files:
            last = max(files, key=lambda file: file["modification_time"])
            assert len(parquet.read_table(os.path.join(path, last["path"]))) == last["num_records"]
        times, rows = times + 1, found
    ended.wait(max(0, began + 0.1 - time.monotonic()))
began = time.monotonic()
DeltaTable(path)
print(json.dumps([times, time.monotonic() - began]), flush=True)
# The threads of the readers do not always survive an interpreter that is taken down around them.
os._exit(0)
