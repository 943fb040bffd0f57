//! Messages as rows of an Arrow table, in the columns that the plugin declares.

#![expect(unused, reason = "a skeleton")]

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::plugin::Field;

/// Rows that are gathered, column by column.
pub struct Columns {
    schema: SchemaRef,
}

impl Columns {
    pub fn new(fields: &[Field]) -> Self {
        todo!()
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Appends a message as a row; or nothing of it, with what is wrong with it.
    pub fn push(&mut self, message: &[u8]) -> Result<(), String> {
        todo!()
    }

    pub fn rows(&self) -> usize {
        todo!()
    }

    /// About how many bytes the rows take.
    pub fn bytes(&self) -> usize {
        todo!()
    }

    /// The rows, and begins anew.
    pub fn take(&mut self) -> RecordBatch {
        todo!()
    }
}
