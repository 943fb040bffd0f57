//! Cells with quotes, commas, ends of lines, NUL, formulas and more (fault 24): through files of compressed CSV and of
//! Parquet, and back by readers that are not ours.

use std::fs;

use serde_json::{Value, json};

use crate::program::{plugin, run_ok};
use crate::readers::Readers;

/// Texts that are easily altered on their way.
const CELLS: [&str; 14] = [
    "plain",
    "\"quoted\"",
    "a \"\" b",
    "comma, semicolon; tab\t",
    "one\ntwo\r\nthree\rfour",
    "nul\0inside",
    "=cmd|'/C calc'!A0",
    "@SUM(1+1)",
    "-1+2",
    " spaces ",
    "é🚀\u{feff}\u{202e}",
    "NULL",
    "\\N \\n \\\"",
    "0012.50",
];

/// A row for each of some texts beside its number; with `escape` a spreadsheet runs none of them as a formula.
fn write(uri: &str, cells: &[String], more: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let lines = cells.iter().enumerate().map(|(id, text)| json!({"id": id, "text": text}).to_string() + "\n");
    fs::write(directory.path().join("in.jsonl"), lines.collect::<String>()).unwrap();
    let pipeline = format!(
        "[source]\nuri = \"file:in.jsonl\"\nuntil = \"end\"\n[[plugin]]\nfile = {:?}\n\
         settings.fields = [{{ from = \"id\", type = \"integer\" }}, {{ from = \"text\" }}]\n[sink]\nuri = {uri:?}\n{more}\n",
        plugin("flatten")
    );
    fs::write(directory.path().join("p.toml"), pipeline).unwrap();
    run_ok(directory.path(), &["run", "p.toml"]);
    directory
}

/// The texts above, and random ones of what is special in one of the formats.
fn cells() -> Vec<String> {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let special: Vec<char> = "\"\",;\t\n\r\0'=+-@\\ aé🚀".chars().collect();
    let mut text = || (0..random.usize(1..12)).map(|_| *random.choice(&special).unwrap()).collect();
    CELLS.iter().map(|cell| (*cell).to_owned()).chain((0..1_000).map(|_| text())).collect()
}

fn table(out: &std::path::Path) -> String {
    let columns = "columns = {'id': 'BIGINT', 'text': 'VARCHAR'}, header = true, quote = '\"', escape = '\"'";
    format!("read_csv('{}/out/*.csv.gz', {columns}, allow_quoted_nulls = false)", out.display())
}

fn texts(rows: &[Value]) -> Vec<&str> {
    rows.iter().map(|row| row["text"].as_str().unwrap()).collect()
}

#[test]
fn every_cell_comes_back_as_it_was() {
    let cells = cells();
    let readers = Readers::local();
    let directory = write("csv:out", &cells, "compression = \"gzip\"");
    let rows = readers.sql(&format!("SELECT text FROM {} ORDER BY id", table(directory.path())));
    assert_eq!(texts(&rows), cells, "DuckDB");
    let csv = readers.csv(directory.path().join("out").to_str().unwrap());
    assert_eq!(texts(&csv), cells, "pyarrow");
    let directory = write("parquet:out", &cells, "");
    let rows = readers.parquet(directory.path().join("out").to_str().unwrap());
    assert_eq!(texts(&rows), cells, "Parquet");
}

#[test]
fn an_escaped_formula_is_text_for_a_spreadsheet() {
    let cells = CELLS.map(str::to_owned);
    let directory = write("csv:out", &cells, "compression = \"gzip\"\nescape_formulas = true");
    let rows = Readers::local().sql(&format!("SELECT text FROM {} ORDER BY id", table(directory.path())));
    let escaped = |cell: &String| match cell.as_str() {
        "=cmd|'/C calc'!A0" | "@SUM(1+1)" | "-1+2" => format!("'{cell}"),
        _ => cell.clone(),
    };
    assert_eq!(texts(&rows), cells.each_ref().map(escaped));
}
