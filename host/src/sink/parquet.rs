//! Parquet: the columns that the plugin declares, each in its own type (see `columns.rs`).
//!
//! Rows are gathered into row groups of a bounded size, in memory until one is complete; a file has its footer, without
//! which no reader takes it for Parquet, only once it is finished.

use std::io;

use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression as Codec, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use crate::message::Batch;
use crate::plugin::Field;
use crate::sink::Refused;
use crate::sink::columns::Columns;
use crate::sink::files::{self, Format};

/// Most rows of a row group.
const ROWS: usize = 1 << 20;

/// About the most bytes of a row group, and so of what waits in memory.
const BYTES: usize = 64 << 20;

/// So many rows, or about so many bytes of them, are encoded at a time.
const BLOCK_ROWS: usize = 16 << 10;
const BLOCK_BYTES: usize = 4 << 20;

/// Where, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    pub files: files::Options,
    pub compression: Compression,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    None,
    Snappy,
    Zstd,
}

impl Compression {
    /// How the pages of a file are written: with dictionaries and statistics, in row groups of a bounded size.
    pub fn properties(self) -> WriterProperties {
        let codec = match self {
            Self::None => Codec::UNCOMPRESSED,
            Self::Snappy => Codec::SNAPPY,
            Self::Zstd => Codec::ZSTD(ZstdLevel::default()),
        };
        WriterProperties::builder()
            .set_compression(codec)
            .set_max_row_group_row_count(Some(ROWS))
            .set_max_row_group_bytes(Some(BYTES))
            .set_created_by(concat!("apogee ", env!("CARGO_PKG_VERSION")).to_owned())
            .build()
    }
}

/// Rows of the declared columns.
pub struct Parquet {
    fields: Vec<Field>,
    properties: WriterProperties,
}

/// A file that is being written.
pub struct File {
    /// Rows that are not encoded yet.
    rows: Columns,
    /// What it has written is taken away again and again.
    writer: ArrowWriter<Vec<u8>>,
}

impl Parquet {
    pub fn new(fields: Vec<Field>, compression: Compression) -> Self {
        Self { fields, properties: compression.properties() }
    }
}

impl File {
    /// Encodes the rows, and hands over what is complete of the file.
    fn encode(&mut self, bytes: &mut Vec<u8>) -> Result<(), ParquetError> {
        self.writer.write(&self.rows.take())?;
        self.writer.sync()?;
        bytes.append(self.writer.inner_mut());
        Ok(())
    }
}

impl Format for Parquet {
    const EXTENSION: &'static str = "parquet";
    const SCHEME: &'static str = "parquet";

    type File = File;

    fn begin(&mut self, _bytes: &mut Vec<u8>) -> io::Result<File> {
        let rows = Columns::new(&self.fields);
        let writer = ArrowWriter::try_new(Vec::new(), rows.schema().clone(), Some(self.properties.clone()))?;
        Ok(File { rows, writer })
    }

    fn append(&mut self, file: &mut File, batch: &Batch, bytes: &mut Vec<u8>) -> io::Result<Vec<Refused>> {
        let mut refused = Vec::new();
        for (message, value) in (0..).zip(&batch.values) {
            if let Err(reason) = file.rows.push(value.unwrap_or(b"null")) {
                refused.push(Refused { message, cause: "not of the columns", reason });
            }
            if file.rows.rows() >= BLOCK_ROWS || file.rows.bytes() >= BLOCK_BYTES {
                file.encode(bytes)?;
            }
        }
        Ok(refused)
    }

    fn pending(&self, file: &File) -> u64 {
        (file.rows.bytes() + file.writer.in_progress_size()) as u64
    }

    fn finish(&mut self, mut file: File, bytes: &mut Vec<u8>) -> io::Result<()> {
        file.encode(bytes)?;
        bytes.append(&mut file.writer.into_inner()?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use parquet::file::metadata::ParquetMetaData;

    use super::*;
    use crate::plugin::Kind;

    fn field(name: &str, kind: Kind) -> Field {
        Field { name: name.to_owned(), kind, nullable: true }
    }

    /// The file that becomes of these messages, the most bytes that waited in memory, and what was refused.
    fn write(fields: Vec<Field>, compression: Compression, batches: &[Batch]) -> (Bytes, u64, Vec<Refused>) {
        let mut parquet = Parquet::new(fields, compression);
        let (mut bytes, mut most, mut refused) = (Vec::new(), 0, Vec::new());
        let mut file = parquet.begin(&mut bytes).unwrap();
        for batch in batches {
            refused.extend(parquet.append(&mut file, batch, &mut bytes).unwrap());
            most = most.max(parquet.pending(&file));
        }
        parquet.finish(file, &mut bytes).unwrap();
        (bytes.into(), most, refused)
    }

    /// Rows, and what the footer says.
    fn read(file: Bytes) -> (usize, ParquetMetaData) {
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        let metadata = ParquetMetaData::clone(builder.metadata());
        (builder.build().unwrap().map(|batch| batch.unwrap().num_rows()).sum(), metadata)
    }

    /// Numbered messages of random text, which no compression makes much smaller.
    fn batches(count: usize) -> Vec<Batch> {
        let mut random = fastrand::Rng::with_seed(25_544);
        let texts: String = (0..4 << 20).map(|_| random.alphanumeric()).collect();
        let numbers: Vec<usize> = (0..count).collect();
        let batch = |numbers: &[usize]| {
            let mut batch = Batch::new();
            for number in numbers {
                let text = &texts[random.usize(..texts.len() - 640)..][..640];
                batch.push(None, Some(format!(r#"{{"number": {number}, "text": "{text}"}}"#).as_bytes()), 0);
            }
            batch
        };
        numbers.chunks(1_000).map(batch).collect()
    }

    #[test]
    fn row_groups_are_bounded_and_leave_memory_when_they_are_complete() {
        let fields = vec![field("number", Kind::Integer), field("text", Kind::Text)];
        let batches = batches(150_000);
        for compression in [Compression::None, Compression::Snappy, Compression::Zstd] {
            let (file, most, refused) = write(fields.clone(), compression, &batches);
            assert_eq!(refused, []);
            assert!(most > 1 << 20 && most < (BYTES + BLOCK_BYTES) as u64 + (1 << 20), "{most} bytes waited");
            let (rows, metadata) = read(file);
            assert_eq!(rows, 150_000);
            let sizes: Vec<i64> = metadata.row_groups().iter().map(|group| group.compressed_size()).collect();
            assert!(sizes.len() > 1 && sizes.iter().all(|size| *size < (BYTES + BLOCK_BYTES) as i64), "{sizes:?}");
            assert!(metadata.row_groups().iter().all(|group| group.column(0).statistics().is_some()));
        }
    }

    #[test]
    fn what_is_refused_is_not_in_the_file() {
        let mut batch = Batch::new();
        for value in [r#"{"number": 1}"#, r#"{"number": "1"}"#, r#"{"number": 2}"#] {
            batch.push(None, Some(value.as_bytes()), 0);
        }
        batch.push(None, None, 0);
        let (file, _, refused) = write(vec![field("number", Kind::Integer)], Compression::Zstd, &[batch]);
        assert_eq!(refused.iter().map(|refused| refused.message).collect::<Vec<_>>(), [1, 3]);
        assert!(refused[0].reason.contains(r#"field "number": "1" is not"#), "{refused:?}");
        assert_eq!(read(file).0, 2);
    }
}
