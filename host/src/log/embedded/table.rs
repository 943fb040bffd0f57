//! A table of the user's in the embedded log's file, filled in the transaction that holds the checkpoint.
//!
//! It is made as declared, or must be found to be so; indexes and triggers upon it are the user's own business. Names are
//! quoted, never pasted; those of our own tables are refused. Where there is a key, a later row replaces the one before it
//! with the same key.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Transaction, params};

use super::file::TABLES;

/// What a column holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Type {
    Integer,
    Real,
    Text,
    /// What others have declared.
    Other(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    pub name: String,
    pub holds: Type,
    pub nullable: bool,
}

/// A table as it was declared.
pub(crate) struct Table {
    name: String,
    columns: Vec<Column>,
    key: Vec<String>,
    insert: String,
}

/// Rows that wait for their transaction, cell by cell.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    cells: Vec<Cell>,
    text: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Cell {
    Null,
    Integer(i64),
    Real(f64),
    /// From here to there in the text.
    Text(usize, usize),
}

impl Type {
    fn name(&self) -> &str {
        match self {
            Self::Integer => "INTEGER",
            Self::Real => "REAL",
            Self::Text => "TEXT",
            Self::Other(name) => name,
        }
    }
}

impl Rows {
    /// About how many bytes they have.
    pub fn bytes(&self) -> usize {
        self.text.len() + size_of_val(self.cells.as_slice())
    }

    pub fn cells(&self) -> usize {
        self.cells.len()
    }

    pub fn clear(&mut self) {
        self.cells.clear();
        self.text.clear();
    }

    pub fn push(&mut self, cell: Cell) {
        self.cells.push(cell);
    }

    pub fn push_text(&mut self, text: &[u8]) {
        let start = self.text.len();
        self.text.extend_from_slice(text);
        self.cells.push(Cell::Text(start, self.text.len()));
    }

    /// How much there is, to go back to.
    pub fn mark(&self) -> (usize, usize) {
        (self.cells.len(), self.text.len())
    }

    pub fn go_back(&mut self, (cells, text): (usize, usize)) {
        self.cells.truncate(cells);
        self.text.truncate(text);
    }

    fn value(&self, cell: Cell) -> ToSqlOutput<'_> {
        ToSqlOutput::Borrowed(match cell {
            Cell::Null => ValueRef::Null,
            Cell::Integer(number) => ValueRef::Integer(number),
            Cell::Real(number) => ValueRef::Real(number),
            Cell::Text(start, end) => ValueRef::Text(&self.text[start..end]),
        })
    }
}

impl Table {
    /// Refuses names that SQLite, or this file, has no room for. A column of the key is never null.
    pub fn new(name: &str, mut columns: Vec<Column>, key: &[String]) -> Result<Self, String> {
        let reserved = TABLES.iter().any(|own| own.eq_ignore_ascii_case(name))
            || name.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("sqlite_"));
        if reserved || name.is_empty() || name.contains('\0') {
            return Err(format!(
                "a table cannot be called {name:?} here, beside the host's own and SQLite's; name another one with `table`"
            ));
        }
        for (place, Column { name, .. }) in columns.iter().enumerate() {
            if name.contains('\0') {
                return Err(format!("no column can be called {name:?}; give the field another name"));
            }
            if let Some(twin) = columns[..place].iter().find(|column| column.name.eq_ignore_ascii_case(name)) {
                return Err(format!(
                    "to SQLite {:?} and {name:?} are one column; give one of the fields another name",
                    twin.name
                ));
            }
        }
        for (place, part) in key.iter().enumerate() {
            let Some(column) = columns.iter_mut().find(|column| column.name == *part) else {
                let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
                return Err(format!("`key` names {part:?}, and the columns are {}", names.join(", ")));
            };
            if key[..place].contains(part) {
                return Err(format!("`key` names {part:?} twice; leave out one"));
            }
            column.nullable = false;
        }
        let insert = insert(name, &columns, key);
        Ok(Self { name: name.to_owned(), columns, key: key.to_vec(), insert })
    }

    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Makes it where it is absent; the inner error says what is there instead, or that it is gone.
    pub(super) fn prepare(&self, t: &Transaction<'_>, group: &str) -> rusqlite::Result<Result<(), String>> {
        let kind =
            t.prepare("SELECT type FROM sqlite_schema WHERE name = ?1 COLLATE NOCASE AND type IN ('table', 'view')");
        let kinds = kind?.query_map([&self.name], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
        let name = &self.name;
        match kinds.first().map(String::as_str) {
            Some("table") => Ok(self.compare(&found(t, name)?)),
            Some(_) => Ok(Err(format!("{name:?} is a view; name another `table`"))),
            None => {
                let kept = "SELECT count(*) FROM checkpoints WHERE grp = ?1 AND checkpoint IS NOT NULL";
                if t.query_row(kept, params![group], |row| row.get::<_, i64>(0))? > 0 {
                    return Ok(Err(format!(
                        "table {name:?} is not there, and group {group:?} has a checkpoint here, so its rows would be \
                         missing; bring the table back, or start anew under another `group`"
                    )));
                }
                t.execute(&self.create(), []).map(|_| Ok(()))
            }
        }
    }

    fn create(&self) -> String {
        let mut parts: Vec<String> = self.columns.iter().map(describe).collect();
        if !self.key.is_empty() {
            parts.push(format!("PRIMARY KEY ({})", list(self.key.iter())));
        }
        format!("CREATE TABLE {} ({})", quote(&self.name), parts.join(", "))
    }

    fn compare(&self, found: &[(Column, i64)]) -> Result<(), String> {
        let mend = "; name another `table`, or drop this one and start anew under another `group`";
        let table = &self.name;
        for column in &self.columns {
            let declared = describe(column);
            match found.iter().find(|(other, _)| other.name == column.name) {
                Some((other, _)) if other == column => {}
                Some((other, _)) => {
                    return Err(format!(
                        "table {table:?} has {}, and what comes has {declared}{mend}",
                        describe(other)
                    ));
                }
                None => return Err(format!("table {table:?} has no {declared}, and what comes has{mend}")),
            }
        }
        if let Some((other, _)) = found.iter().find(|(other, _)| self.columns.iter().all(|own| own.name != other.name))
        {
            return Err(format!("table {table:?} has {}, and what comes has not{mend}", describe(other)));
        }
        let mut key: Vec<_> = found.iter().filter(|(_, place)| *place > 0).collect();
        key.sort_by_key(|(_, place)| *place);
        if !key.iter().map(|(column, _)| &column.name).eq(&self.key) {
            let (is, wanted) = (list(key.iter().map(|(column, _)| &column.name)), list(self.key.iter()));
            return Err(format!("table {table:?} has the primary key ({is}), and ({wanted}) is asked for{mend}"));
        }
        Ok(())
    }

    /// Adds rows, in order.
    pub(super) fn insert(&self, t: &Transaction<'_>, rows: &Rows) -> rusqlite::Result<()> {
        let mut statement = t.prepare_cached(&self.insert)?;
        for row in rows.cells.chunks_exact(self.columns.len()) {
            for (place, cell) in (1..).zip(row) {
                statement.raw_bind_parameter(place, rows.value(*cell))?;
            }
            statement.raw_execute()?;
        }
        Ok(())
    }
}

/// The columns of a table that is there, each with its place in the primary key, counted from 1.
fn found(c: &Connection, table: &str) -> rusqlite::Result<Vec<(Column, i64)>> {
    let mut columns = c.prepare(r#"SELECT name, upper(type), "notnull", pk FROM pragma_table_xinfo(?1)"#)?;
    let columns = columns.query_map([table], |row| {
        let holds = match row.get::<_, String>(1)?.as_str() {
            "INTEGER" => Type::Integer,
            "REAL" => Type::Real,
            "TEXT" => Type::Text,
            other => Type::Other(other.to_owned()),
        };
        Ok((Column { name: row.get(0)?, holds, nullable: !row.get::<_, bool>(2)? }, row.get(3)?))
    })?;
    columns.collect()
}

fn insert(table: &str, columns: &[Column], key: &[String]) -> String {
    let names = list(columns.iter().map(|column| &column.name));
    let places: Vec<String> = (1..=columns.len()).map(|place| format!("?{place}")).collect();
    let mut sql = format!("INSERT INTO {} ({names}) VALUES ({})", quote(table), places.join(", "));
    if !key.is_empty() {
        let others = columns.iter().filter(|column| !key.contains(&column.name));
        let others: Vec<String> =
            others.map(|Column { name, .. }| format!("{0} = excluded.{0}", quote(name))).collect();
        sql += &format!(" ON CONFLICT ({}) DO ", list(key.iter()));
        sql += &if others.is_empty() { "NOTHING".to_owned() } else { format!("UPDATE SET {}", others.join(", ")) };
    }
    sql
}

fn describe(column: &Column) -> String {
    let null = if column.nullable { "" } else { " NOT NULL" };
    format!("{} {}{null}", quote(&column.name), column.holds.name())
}

fn list<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.map(|name| quote(name)).collect::<Vec<_>>().join(", ")
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
