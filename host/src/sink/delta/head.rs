//! The last version of a table that we know, behind which the next one goes.

use std::collections::BTreeMap;

use deltalake_core::BlindDeltaTable;
use deltalake_core::kernel::transaction::CommitData;
use deltalake_core::kernel::{Action, Add, StructType};
use deltalake_core::protocol::{DeltaOperation, SaveMode};

use super::Options;
use crate::delta::{self, Table};
use crate::objects;
use crate::plugin::Field;
use crate::sink::SinkError;
use crate::sink::columns::Columns;

/// Most versions of others that one commit makes way for.
const ATTEMPTS: usize = 10_000;

/// What Spark's writers refuse in a column's name, and many readers after them.
const NO_NAME: &str = " ,;{}()\n\t=";

pub struct Head {
    table: Table,
    /// The name of the sink.
    owner: String,
    columns: StructType,
    partition_by: Vec<String>,
    /// The table as it was when its columns were last compared.
    opened: Option<BlindDeltaTable>,
    /// The last version that we know all of.
    version: u64,
}

/// What a version is to hold.
#[derive(Default)]
pub struct Version {
    /// Of our transactions the numbers that the table must have.
    pub held: BTreeMap<String, u64>,
    /// The numbers that they get.
    pub numbers: BTreeMap<String, u64>,
    /// Of each where it goes on reading, for a person who looks at the table's history.
    pub next: BTreeMap<String, i64>,
    pub files: Vec<Add>,
}

/// What became of a commit.
pub enum Outcome {
    Committed,
    /// Not: somebody else has committed a transaction of this application.
    Taken(String),
}

impl Head {
    /// Nothing is read or created.
    pub fn new(options: &Options, s3: &objects::Options, fields: &[Field], owner: &str) -> Result<Self, SinkError> {
        let table = Table::new(&options.table, s3)?;
        check(&options.partition_by, fields).map_err(|what| table.refused(what))?;
        let schema = Columns::new(fields).schema().clone();
        let columns = delta::columns(&schema).map_err(|error| table.failed(&error))?;
        let (owner, partition_by) = (owner.to_owned(), options.partition_by.clone());
        Ok(Self { table, owner, columns, partition_by, opened: None, version: 0 })
    }

    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The table whose columns are known to be ours.
    pub fn columns(&self) -> Result<&BlindDeltaTable, SinkError> {
        self.opened.as_ref().ok_or_else(|| self.table.refused("it was not opened; please report it").into())
    }

    /// Goes on behind the last version of the table, which must have our columns and is created where there is none.
    pub fn open(&mut self) -> Result<u64, SinkError> {
        if self.table.snapshot(None)?.is_none() {
            let create = DeltaOperation::Write {
                mode: SaveMode::ErrorIfExists,
                partition_by: Some(self.partition_by.clone()),
                predicate: None,
            };
            let actions = delta::creation(&self.columns, &self.partition_by);
            let actions = actions.map_err(|error| self.table.failed(&error))?;
            // Where somebody else was quicker, theirs is the table.
            self.table.put(0, self.entry(actions, create, &BTreeMap::new(), serde_json::Map::new())?)?;
        }
        let opened = self.table.wait(BlindDeltaTable::try_new_with_log_store(self.table.log().clone()))?;
        self.compare(&opened)?;
        self.version = opened.version();
        self.opened = Some(opened);
        Ok(self.version)
    }

    /// Commits a version, as long as no transaction that is held has another number.
    pub fn commit(&mut self, version: Version) -> Result<Outcome, SinkError> {
        let append = DeltaOperation::Write { mode: SaveMode::Append, partition_by: None, predicate: None };
        let Version { held, numbers, next, files } = version;
        let next = next.into_iter().map(|(app, next)| (app, next.into())).collect::<serde_json::Map<_, _>>();
        let actions = files.into_iter().map(Action::Add).collect();
        let entry = self.entry(actions, append, &numbers, next)?;
        for _ in 0..ATTEMPTS {
            if self.table.put(self.version + 1, entry.clone())? {
                self.follows()?;
                self.version += 1;
                return Ok(Outcome::Committed);
            }
            if let Some(outcome) = self.catch_up(&held, &entry)? {
                return Ok(outcome);
            }
        }
        let what = format!("{ATTEMPTS} versions of others came first");
        Err(SinkError::Interrupted { place: self.table.place.clone(), what })
    }

    /// A number can also be free because the table no longer keeps what was there: entries are removed from the first one
    /// on, so the one before is gone, too. Then nobody reads what was put, unless it was put in time; the table knows.
    fn follows(&self) -> Result<(), SinkError> {
        if self.table.bytes(self.version)?.is_some() {
            return Ok(());
        }
        let what = format!("the log was cut off behind version {}, the last one that was known here", self.version);
        Err(SinkError::Interrupted { place: self.table.place.clone(), what })
    }

    /// Sums up the log where it is time to.
    pub fn tidy(&self) {
        if let Some(opened) = &self.opened {
            self.table.tidy(self.version, opened.metadata());
        }
    }

    fn entry(
        &self,
        actions: Vec<Action>,
        operation: DeltaOperation,
        numbers: &BTreeMap<String, u64>,
        next: serde_json::Map<String, serde_json::Value>,
    ) -> Result<bytes::Bytes, SinkError> {
        let transactions = numbers.iter().map(|(app, &number)| delta::transaction(app, number)).collect();
        // No two of all sinks give the same entry.
        let said = serde_json::json!({ "owner": self.owner, "next": next });
        let info = [("isBlindAppend".to_owned(), true.into()), ("apogee".to_owned(), said)];
        let data = CommitData::new(actions, operation, info.into(), transactions);
        Ok(data.get_bytes().map_err(|error| self.table.failed(&error.into()))?)
    }

    /// Reads what others have put behind our last version. `Some` where that decides about our commit.
    fn catch_up(&mut self, held: &BTreeMap<String, u64>, ours: &bytes::Bytes) -> Result<Option<Outcome>, SinkError> {
        let (before, mut changed) = (self.version, false);
        while let Some(entry) = self.table.bytes(self.version + 1)? {
            self.version += 1;
            // The answer to our own first try was lost.
            if entry == *ours {
                return Ok(Some(Outcome::Committed));
            }
            for action in self.table.actions(self.version, &entry)? {
                match action {
                    Action::Txn(txn) if held.contains_key(&txn.app_id) => return Ok(Some(Outcome::Taken(txn.app_id))),
                    Action::Metadata(_) | Action::Protocol(_) => changed = true,
                    _ => {}
                }
            }
        }
        if self.version == before {
            let what = format!("version {} is there, and cannot be read; it may have been removed", before + 1);
            return Err(SinkError::Interrupted { place: self.table.place.clone(), what });
        }
        if changed {
            let opened = self.table.wait(BlindDeltaTable::try_new_with_log_store(self.table.log().clone()))?;
            self.compare(&opened)?;
            self.opened = Some(opened);
        }
        Ok(None)
    }

    /// Whether our rows can be the table's.
    fn compare(&self, opened: &BlindDeltaTable) -> Result<(), SinkError> {
        if let Some(feature) = delta::unknown_writing(opened.protocol(), opened.metadata()) {
            let what =
                format!("the table asks its writers for {feature}, which this host does not know; write elsewhere");
            return Err(self.table.refused(what).into());
        }
        let theirs = opened.metadata().parse_schema().map_err(|error| self.table.failed(&error.into()))?;
        if let Some(what) = difference(&self.columns, &theirs) {
            let what = format!("{what}; write to another table, or declare the columns of this one");
            return Err(self.table.refused(what).into());
        }
        let partition_by = opened.metadata().partition_columns();
        if *partition_by != *self.partition_by {
            let (theirs, ours) = (partition_by.join(", "), self.partition_by.join(", "));
            let what =
                format!("the table is partitioned by [{theirs}], and `partition_by` says [{ours}]; say the former");
            return Err(self.table.refused(what).into());
        }
        Ok(())
    }
}

/// Why rows of our columns cannot be rows of a table.
fn difference(ours: &StructType, theirs: &StructType) -> Option<String> {
    for field in ours.fields() {
        let name = field.name();
        let Some(their) = theirs.field(name) else {
            return Some(format!("the plugin declares column {name:?}, which the table does not have"));
        };
        if their.data_type() != field.data_type() {
            let (their, our) = (their.data_type(), field.data_type());
            return Some(format!("column {name:?} is {their} in the table, and {our} by the plugin"));
        }
        if field.is_nullable() && !their.is_nullable() {
            return Some(format!("column {name:?} is never null in the table, and may be by the plugin"));
        }
    }
    if let Some(field) = theirs.fields().find(|field| ours.field(field.name()).is_none()) {
        return Some(format!("the table has column {:?}, which the plugin does not declare", field.name()));
    }
    let rule = |key: &&String| ["delta.invariants", "delta.generationExpression"].contains(&key.as_str());
    let field = theirs.fields().find(|field| field.metadata().keys().any(|key| rule(&key)))?;
    Some(format!("column {:?} of the table has a rule, which this host does not know", field.name()))
}

/// Whether a table can have these columns, and be parted by some of them; says what is wrong.
pub fn check(partition_by: &[String], fields: &[Field]) -> Result<(), String> {
    check_names(fields)?;
    let unknown = |name: &&String| !fields.iter().any(|field| field.name == **name);
    if let Some(name) = partition_by.iter().find(unknown) {
        let names: Vec<_> = fields.iter().map(|field| field.name.as_str()).collect();
        return Err(format!("`partition_by` names {name:?}, which is none of its columns: {}", names.join(", ")));
    }
    if partition_by.len() == fields.len() {
        return Err("`partition_by` names all columns, and so leaves none for its files; leave one out".to_owned());
    }
    Ok(())
}

/// Whether these can be the names of columns.
fn check_names(fields: &[Field]) -> Result<(), String> {
    for (place, field) in fields.iter().enumerate() {
        let name = &field.name;
        if name.is_empty() || name.contains(|letter| NO_NAME.contains(letter)) {
            return Err(format!(
                "a column cannot have the name {name:?}: it is empty, or has a space or one of ,;{{}}()=; rename it in \
                 the plugin's settings"
            ));
        }
        if let Some(other) = fields[..place].iter().find(|other| other.name.to_lowercase() == name.to_lowercase()) {
            return Err(format!(
                "columns {:?} and {name:?} are one to many readers, which do not tell upper from lower case; rename one \
                 in the plugin's settings",
                other.name
            ));
        }
    }
    Ok(())
}
