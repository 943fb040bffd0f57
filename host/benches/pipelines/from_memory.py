"""Writes rows from memory with pyarrow, as what the host's files are compared with.

    from_memory.py parquet|delta FILES INTO ROUNDS

FILES is a folder of Parquet files, whose rows are read into memory first. Prints for each round a line of JSON with the
seconds of the clock and of the CPU, all threads together, that writing them to INTO as zstd took, and how many bytes
they became.
"""

import glob
import json
import os
import resource
import shutil
import sys
import time

import pyarrow
from pyarrow import parquet


def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def size(path):
    return sum(os.path.getsize(os.path.join(folder, file)) for folder, _, files in os.walk(path) for file in files)


def main(what, files, into, rounds):
    tables = [parquet.read_table(file) for file in sorted(glob.glob(os.path.join(files, "*.parquet")))]
    # Plain columns, as of rows that were just parsed.
    rows = pyarrow.concat_tables(tables).combine_chunks()
    for _ in range(int(rounds)):
        shutil.rmtree(into, ignore_errors=True)
        before, start = cpu(), time.monotonic()
        if what == "parquet":
            os.makedirs(into)
            parquet.write_table(rows, os.path.join(into, "rows.parquet"), compression="zstd")
        else:
            from deltalake import WriterProperties, write_deltalake

            write_deltalake(into, rows, writer_properties=WriterProperties(compression="ZSTD"))
        took = {"wall": time.monotonic() - start, "cpu": cpu() - before}
        print(json.dumps({**took, "rows": rows.num_rows, "bytes": size(into)}))


main(*sys.argv[1:])
