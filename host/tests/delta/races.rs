//! Several writers of one table: each version has one winner, who loses finds out, and nothing is lost or there twice.

use std::sync::Barrier;
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
    const ROUNDS: i64 = 15;
    let (bench, together) = (Bench::new(), Barrier::new(WRITERS as usize));
    let (won, fenced) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    let mut writer = bench.writer("g");
                    together.wait();
                    let opened = writer.open();
                    together.wait();
                    let attempt = opened.and_then(|next| {
                        writer.append(next, next + 5)?;
                        writer.append(next + 5, next + 10)
                    });
                    match attempt {
                        Ok(()) => won.fetch_add(1, Ordering::Relaxed),
                        Err(SinkError::Fenced { .. }) => fenced.fetch_add(1, Ordering::Relaxed),
                        Err(other) => panic!("{other}"),
                    };
                }
            });
        }
    });
    // Each time the one who opened last.
    let [won, fenced] = [won, fenced].map(|count| count.into_inner() as i64);
    assert_eq!((won, fenced), (ROUNDS, ROUNDS * (WRITERS - 1)));
    assert_eq!(bench.numbers(), (0..ROUNDS * 10).collect::<Vec<_>>());
    assert_eq!(bench.writer("g").open().unwrap(), ROUNDS * 10);
}
