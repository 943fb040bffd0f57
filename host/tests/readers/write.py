"""Writes what the readers are tried on: two rows as Parquet and csv.gz files in a folder, and as a Delta table."""

import datetime
import gzip
import os
import sys

import pyarrow as pa
from deltalake import write_deltalake
from pyarrow import parquet

files, table = sys.argv[1:]
schema = pa.schema([("id", pa.int64()), ("at", pa.timestamp("us", "UTC")), ("text", pa.string())])
at = datetime.datetime(2024, 4, 25, 8, 11, 48, 1, datetime.timezone.utc)
os.makedirs(os.path.join(files, ".hidden"))
for name, row in [("a", {"id": 1, "at": at, "text": 'é\n"\0'}), ("b", {"id": 2, "at": None, "text": None})]:
    rows = pa.Table.from_pylist([row], schema)
    parquet.write_table(rows, os.path.join(files, f"{name}.parquet"))
    parquet.write_table(rows, os.path.join(files, ".hidden", f"{name}.parquet"))
    write_deltalake(table, rows, mode="append")
    with gzip.open(os.path.join(files, f"{name}.csv.gz"), "wt") as out:
        out.write(f"id\n{row['id']}\n")
