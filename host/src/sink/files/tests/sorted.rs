//! Several files at a time: by a template, and by windows.

use super::*;

/// A sink of one folder for each station, and of windows of a minute.
fn sorting(bench: &Bench, size: u64) -> FileSink<Csv> {
    let mut options = Options::new(Location::Directory(bench.out.clone()));
    (options.window, options.path) = (Some(Duration::from_secs(60)), Some(Template::parse("s={s}/{date}").unwrap()));
    (options.every, options.size) = (LONG, size);
    let csv = Csv::new(vec!["n".to_owned(), "s".to_owned()], false);
    FileSink::from_options(&options, &objects::Options::default(), "g", csv, LONG).unwrap()
}

fn stations(rows: &[(i64, &str, i64)]) -> Batch {
    let mut batch = Batch::new();
    for (n, station, time) in rows {
        batch.push(None, Some(serde_json::json!({ "n": n, "s": station }).to_string().as_bytes()), *time);
    }
    batch
}

fn commit(bench: &Bench, sink: &mut FileSink<Csv>, next: i64) {
    let text = |text: &str| text.to_owned();
    let identity =
        Identity { pipeline: text("p"), source: text("s"), place: sink.place(), plugins: vec![], exactly_once: true };
    let checkpoint = identity.checkpoint(0, next, None, Tally::default().sum());
    let parts = &[Part { checkpoint, changes: Entries::default() }];
    sink.commit(Step { parts, letters: &Batch::new(), source: bench.source.as_ref() }).unwrap();
}

/// Folder, rows without their header.
fn sorted(bench: &Bench) -> Vec<(String, String)> {
    let directory = Directory::new(&bench.out).unwrap();
    let mut found: Vec<(String, String)> = directory
        .finished()
        .unwrap()
        .into_iter()
        .map(|name| {
            let text = fs::read_to_string(bench.out.join(&name)).unwrap();
            (name.rsplit_once('/').unwrap().0.to_owned(), text.strip_prefix("n,s\n").unwrap().to_owned())
        })
        .collect();
    found.sort();
    found
}

#[test]
fn each_row_is_in_the_folder_of_its_fields_in_a_file_of_its_window_and_one_commit_shows_all() {
    let bench = Bench::new();
    let mut sink = sorting(&bench, 1 << 20);
    assert_eq!(sink.open(0).unwrap(), None);
    let refused = sink.write(0, &stations(&[(0, "A", 0), (1, "../A", 0), (2, "B", 59_999)]), 0).unwrap();
    assert_eq!(refused.iter().map(|refused| (refused.message, refused.cause)).collect::<Vec<_>>(), [(1, "path")]);
    assert!(!sink.full() && sorted(&bench).is_empty());
    let refused = sink.write(0, &stations(&[(3, "A", 60_000), (4, "A", 59_000), (5, "", 0)]), 3).unwrap();
    assert_eq!(refused[0].message, 2);
    assert!(sink.full(), "a row of a later window has come");
    commit(&bench, &mut sink, 6);
    let row = |folder: &str, rows: &str| (format!("s={folder}/1970-01-01"), rows.to_owned());
    let all = [row("A", "0,A\n4,A\n"), row("A", "3,A\n"), row("B", "2,B\n")];
    assert_eq!(sorted(&bench), all);

    // As it is between the commit point and the final names, of which two are given already.
    let last = &sink.partitions[&0].last;
    let output = &last.output[2];
    fs::rename(bench.out.join(&output.name), bench.partition().join(last.part(output))).unwrap();
    drop(sink);
    assert_eq!(sorted(&bench).len(), 2);
    let mut sink = sorting(&bench, 1 << 20);
    assert_eq!(sink.open(0).unwrap().unwrap().next, 6);
    assert_eq!(sorted(&bench), all);
    assert!(fs::read_dir(bench.out.parent().unwrap()).unwrap().all(|entry| entry.unwrap().file_name() != "A"));
}

#[test]
fn as_many_files_are_open_as_may_be_and_their_sizes_add_up() {
    let bench = Bench::new();
    for (size, folders, full) in
        [(1 << 20, OPEN - 1, false), (1 << 20, OPEN, true), (200, 20, true), (2_000, 20, false)]
    {
        let mut sink = sorting(&bench, size);
        sink.open(0).unwrap();
        let names: Vec<String> = (0..folders).map(|n| format!("S{n}")).collect();
        let rows: Vec<(i64, &str, i64)> = (0..).zip(&names).map(|(n, name)| (n, name.as_str(), 0)).collect();
        assert_eq!(sink.write(0, &stations(&rows), 0).unwrap(), []);
        assert_eq!(sink.full(), full, "{folders} folders, {size} bytes");
        sink.abort().unwrap();
        assert_eq!(bench.kept("part"), [] as [PathBuf; 0]);
    }
}

#[test]
fn a_batch_for_more_folders_than_may_be_open_is_in_files_that_one_commit_shows() {
    let bench = Bench::new();
    let mut sink = sorting(&bench, 1 << 20);
    sink.open(0).unwrap();
    let names: Vec<String> = (0..3 * OPEN).map(|n| format!("S{n:03}")).collect();
    let rows: Vec<(i64, &str, i64)> = (0..).zip(&names).map(|(n, name)| (n, name.as_str(), 0)).collect();
    for commits in [false, true] {
        assert_eq!(sink.write(0, &stations(&rows), 0).unwrap(), []);
        assert_eq!(sink.partitions[&0].open.len(), OPEN);
        assert!(sink.full() && sorted(&bench).is_empty());
        // Another row for a folder of which the file is finished.
        assert_eq!(sink.write(0, &stations(&[(1_000, "S000", 0)]), 300).unwrap(), []);
        if commits {
            commit(&bench, &mut sink, 301)
        } else {
            sink.abort().unwrap()
        }
        assert_eq!((bench.kept("part").len(), sink.full()), (0, false));
    }
    let row = |(n, name): (usize, &String)| (format!("s={name}/1970-01-01"), format!("{n},{name}\n"));
    let mut all: Vec<_> = names.iter().enumerate().map(row).collect();
    all.insert(1, ("s=S000/1970-01-01".to_owned(), "1000,S000\n".to_owned()));
    assert_eq!(sorted(&bench), all);
}
