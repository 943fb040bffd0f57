//! The rows of one file as JSON objects, in the columns of the table: those that the file does not have are null, but for
//! the ones by which the table is partitioned, whose value the log has. Times are RFC 3339.

#![expect(deprecated, reason = "what is to come in its place would be written here by hand")]

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use deltalake_core::DeltaTableError;
use deltalake_core::arrow::json::writer::{LineDelimited, WriterBuilder};
use deltalake_core::kernel::engine::arrow_conversion::TryIntoArrow;
use deltalake_core::kernel::{Add, Metadata};
use deltalake_core::parquet::arrow::ParquetRecordBatchStreamBuilder;
use deltalake_core::parquet::arrow::async_reader::{ParquetObjectReader, ParquetRecordBatchStream};
use deltalake_core::parquet::errors::ParquetError;
use futures_util::TryStreamExt;

use crate::delta::{self, Table, TableError};

/// About the most bytes of rows that are decoded at a time, unless one has more.
const BLOCK: usize = 4 << 20;

/// Most rows of them: what a file says of its size is little where one long text is in many rows.
const ROWS: u64 = 1 << 12;

/// The columns of a table.
pub struct Columns {
    schema: SchemaRef,
    partition_by: Vec<String>,
}

impl Columns {
    pub fn new(metadata: &Metadata) -> Result<Self, DeltaTableError> {
        let schema = Arc::new((&metadata.parse_schema()?).try_into_arrow()?);
        Ok(Self { schema, partition_by: metadata.partition_columns().to_vec() })
    }
}

/// Rows of a file.
pub struct Rows {
    stream: ParquetRecordBatchStream<ParquetObjectReader>,
    schema: SchemaRef,
    /// For each column of the table by which it is partitioned its value in this file.
    values: Vec<Option<Option<String>>>,
    time: i64,
    /// Rows of the file that are not decoded yet.
    left: u64,
    /// Lines that are, and where the next one begins.
    lines: Vec<u8>,
    at: usize,
}

impl Rows {
    /// Opens a file behind its first `skip` rows; `None` where it has no more than that. `skip` is less by what it has.
    pub fn open(
        table: &Table,
        add: &Add,
        columns: &Columns,
        time: i64,
        skip: &mut u64,
    ) -> Result<Option<Self>, TableError> {
        if add.deletion_vector.is_some() || add.path.contains("://") {
            let what = format!("{}: it lies elsewhere, or has rows that were taken away (a deletion vector)", add.path);
            return Err(table.refused(format!("{what}, which this host cannot read")));
        }
        let mut reader = ParquetObjectReader::new(table.files(), delta::path(add));
        if let Ok(size) = u64::try_from(add.size) {
            reader = reader.with_file_size(size);
        }
        let builder = wait(table, add, ParquetRecordBatchStreamBuilder::new(reader))?;
        let rows = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0);
        let skipped = rows.min(*skip);
        *skip -= skipped;
        if skipped == rows {
            return Ok(None);
        }
        let bytes: i64 = builder.metadata().row_groups().iter().map(|group| group.total_byte_size()).sum();
        let each = (bytes.unsigned_abs() / rows).max(1);
        let batch = (BLOCK as u64 / each).clamp(1, ROWS) as usize;
        // No row before these is decoded.
        let stream = builder.with_batch_size(batch).with_offset(skipped as usize).build();
        let stream = stream.map_err(|error| unreadable(table, add, error))?;
        let value = |name: &String| {
            columns.partition_by.contains(name).then(|| add.partition_values.get(name).cloned().flatten())
        };
        let values = columns.schema.fields().iter().map(|field| value(field.name())).collect();
        let (schema, left) = (columns.schema.clone(), rows - skipped);
        Ok(Some(Self { stream, schema, values, time, left, lines: Vec::new(), at: 0 }))
    }

    /// The next row, and its time.
    pub fn next(&mut self, table: &Table) -> Result<Option<(&[u8], i64)>, TableError> {
        if self.at == self.lines.len() {
            let Some(rows) = table.wait(self.stream.try_next())? else { return Ok(None) };
            self.left = self.left.saturating_sub(rows.num_rows() as u64);
            self.at = 0;
            self.lines =
                self.to_json(&rows).map_err(|error| table.refused(format!("a row cannot be read: {error}")))?;
        }
        let rest = &self.lines[self.at..];
        let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        self.at += (end + 1).min(rest.len());
        Ok(Some((&rest[..end], self.time)))
    }

    pub fn is_at_end(&self) -> bool {
        self.left == 0 && self.at == self.lines.len()
    }

    fn to_json(&self, rows: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
        let count = rows.num_rows();
        // What is no value of its column is damage, and no null.
        let exact = CastOptions { safe: false, ..CastOptions::default() };
        let column = |(field, value): (&arrow::datatypes::FieldRef, &Option<Option<String>>)| {
            let found: ArrayRef = match (value, rows.column_by_name(field.name())) {
                (Some(Some(value)), _) => Arc::new(StringArray::from(vec![value.as_str(); count])),
                (None, Some(found)) => found.clone(),
                (Some(None), _) | (None, None) => return Ok(new_null_array(field.data_type(), count)),
            };
            cast_with_options(&found, field.data_type(), &exact)
        };
        let columns = self.schema.fields().iter().zip(&self.values).map(column).collect::<Result<_, _>>()?;
        let rows = RecordBatch::try_new(self.schema.clone(), columns)?;
        let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(Vec::new());
        writer.write(&rows)?;
        writer.finish()?;
        Ok(writer.into_inner())
    }
}

fn wait<T>(table: &Table, add: &Add, doing: impl Future<Output = Result<T, ParquetError>>) -> Result<T, TableError> {
    table.runtime().block_on(doing).map_err(|error| unreadable(table, add, error))
}

fn unreadable(table: &Table, add: &Add, error: ParquetError) -> TableError {
    let cause = match &error {
        ParquetError::External(cause) => cause.downcast_ref(),
        _ => None,
    };
    match cause {
        Some(object_store::Error::NotFound { .. }) => table.refused(format!(
            "{} was removed (VACUUM) before it was read; what is left of the table can be read under another `group`",
            add.path
        )),
        _ => table.failed(&error.into()),
    }
}
