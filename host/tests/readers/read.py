"""Reads what the host has written, and prints it as one JSON value a line.

    parquet URI           the rows of a Parquet file, or of all Parquet files in a folder, as pyarrow reads them
    csv URI               the rows of CSV files likewise, which may be compressed; all cells are text
    schema URI            their columns: name, type, nullable
    delta URI [VERSION]   the rows of a Delta table, as deltalake reads them
    versions URI          the versions of a Delta table, the earliest first
    sql TEXT              what DuckDB answers
    copy URI FOLDER       nothing: copies what is in a bucket below URI to a folder

A URI is a path, or s3://BUCKET/PATH: then AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION say
where and as whom. Times are ISO 8601 text in UTC, bytes hexadecimal.
"""

import datetime
import json
import os
import sys


def place(uri):
    """The file system of a URI, and the path there."""
    from pyarrow import fs

    if not uri.startswith("s3://"):
        return fs.LocalFileSystem(), os.path.abspath(uri)
    scheme, _, endpoint = os.environ["AWS_ENDPOINT_URL"].partition("://")
    return fs.S3FileSystem(
        access_key=os.environ["AWS_ACCESS_KEY_ID"],
        secret_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        region=os.environ.get("AWS_REGION", "us-east-1"),
        scheme=scheme,
        endpoint_override=endpoint,
    ), uri.removeprefix("s3://")


def files(uri, *ends):
    """The files at a URI or below it, and their file system. Hidden files and folders are none of them."""
    from pyarrow import fs

    system, path = place(uri)
    if system.get_file_info(path).type == fs.FileType.File:
        return [path], system
    below = system.get_file_info(fs.FileSelector(path, recursive=True, allow_not_found=True))
    visible = [file.path for file in below if "/." not in file.path.removeprefix(path) and file.path.endswith(ends)]
    return sorted(visible), system


def dataset(uri):
    from pyarrow import dataset

    paths, system = files(uri, ".parquet")
    return dataset.dataset(paths, format="parquet", filesystem=system)


def parquet(uri):
    for batch in dataset(uri).to_batches():
        yield from batch.to_pylist()


def csv(uri):
    from pyarrow import csv, string

    paths, system = files(uri, ".csv", ".csv.gz")
    parse = csv.ParseOptions(newlines_in_values=True)
    for path in paths:
        with system.open_input_stream(path) as stream:
            names = csv.open_csv(stream, parse_options=parse).schema.names
        convert = csv.ConvertOptions(column_types=dict.fromkeys(names, string()), strings_can_be_null=False)
        with system.open_input_stream(path) as stream:
            yield from csv.read_csv(stream, parse_options=parse, convert_options=convert).to_pylist()


def schema(uri):
    for field in dataset(uri).schema:
        yield {"name": field.name, "type": str(field.type), "nullable": field.nullable}


def table(uri, version=None):
    from deltalake import DeltaTable

    options = {"AWS_ALLOW_HTTP": "true"} if uri.startswith("s3://") else None
    return DeltaTable(uri, version=None if version is None else int(version), storage_options=options)


def delta(uri, version=None):
    yield from table(uri, version).to_pyarrow_table().to_pylist()


def versions(uri):
    yield from sorted(commit["version"] for commit in table(uri).history())


def sql(text):
    import duckdb

    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for batch in connection.sql(text).to_arrow_reader():
            yield from batch.to_pylist()


def copy(uri, folder):
    from pyarrow import fs

    system, path = place(uri)
    os.makedirs(folder, exist_ok=True)
    fs.copy_files(path, folder, source_filesystem=system)
    return ()


def plain(value):
    """What JSON has no word for."""
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.timezone.utc).isoformat() if value.tzinfo else value.isoformat()
    return value.hex() if isinstance(value, bytes) else str(value)


def main(what, *arguments):
    for value in {f.__name__: f for f in (parquet, csv, schema, delta, versions, sql, copy)}[what](*arguments):
        print(json.dumps(value, default=plain))


if __name__ == "__main__":
    main(*sys.argv[1:])
    sys.stdout.flush()
    # The readers' threads do not always survive an interpreter that is taken down around them.
    os._exit(0)
