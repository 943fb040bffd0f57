//! The Python that reads what the host writes.

use std::process::Command;

#[test]
fn it_has_the_readers() {
    let python = xtask::python::interpreter().expect("a Python");
    let probe = "import deltalake, duckdb, pyarrow.parquet";
    xtask::command::output(Command::new(python).args(["-c", probe])).expect("the readers are there");
}
