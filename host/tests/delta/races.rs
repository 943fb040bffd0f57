//! Several writers of one table: each version has one winner, who loses finds out, and nothing is lost or there twice.

use std::sync::atomic::{AtomicUsize, Ordering};

use host::sink::SinkError;

use super::Bench;

const WRITERS: i64 = 4;

#[test]
fn four_groups_append_to_one_table_and_each_row_is_there_once() {
    const COMMITS: i64 = 25;
    let bench = Bench::new();
    std::thread::scope(|scope| {
        for group in 0..WRITERS {
            let bench = &bench;
            scope.spawn(move || {
                let mut writer = bench.writer(&format!("g{group}"));
                assert_eq!(writer.open().unwrap(), 0);
                for at in (0..COMMITS).map(|commit| group * 1_000 + commit * 10) {
                    writer.append(at, at + 10).unwrap();
                }
            });
        }
    });
    let expected = (0..WRITERS).flat_map(|group| group * 1_000..group * 1_000 + COMMITS * 10);
    assert_eq!(bench.numbers(), expected.collect::<Vec<_>>());
    // The creation, a claim of each group, and every commit: none was done twice.
    assert_eq!(bench.log().len() as i64, 1 + WRITERS + WRITERS * COMMITS);
}

#[test]
fn of_four_writers_of_one_partition_one_wins_each_version_and_the_others_find_out() {
    let bench = Bench::new();
    let (won, fenced) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                for _ in 0..20 {
                    let mut writer = bench.writer("g");
                    let attempt = writer.open().and_then(|next| {
                        for at in [next, next + 5] {
                            writer.append(at, at + 5)?;
                            won.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok(())
                    });
                    match attempt {
                        Ok(()) => {}
                        Err(SinkError::Fenced { .. }) => drop(fenced.fetch_add(1, Ordering::Relaxed)),
                        Err(other) => panic!("{other}"),
                    }
                }
            });
        }
    });
    let (won, fenced) = (won.into_inner() as i64, fenced.into_inner());
    println!("{won} commits, and {fenced} times another one was quicker");
    assert!(won > 0 && fenced > 0);
    assert_eq!(bench.numbers(), (0..won * 5).collect::<Vec<_>>());
    assert_eq!(bench.writer("g").open().unwrap(), won * 5);
}
