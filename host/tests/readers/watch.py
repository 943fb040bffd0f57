"""Opens a Delta table every 100 ms, from when it is there until standard input ends, and reads a column of numbers each
time. Prints how often; an error, or a table that has fewer rows than before, ends it."""

import os
import sys
import threading
import time

from deltalake import DeltaTable

path, column = sys.argv[1:]
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
times, rows = 0, 0
while not ended.is_set():
    began = time.monotonic()
    if os.path.exists(os.path.join(path, "_delta_log", "00000000000000000000.json")):
        found = len(DeltaTable(path).to_pyarrow_table(columns=[column]))
        assert found >= rows, f"{found} rows after {rows}"
        times, rows = times + 1, found
    ended.wait(max(0, began + 0.1 - time.monotonic()))
print(times)
