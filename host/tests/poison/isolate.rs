//! What isolation finds in a batch, with real components: exactly the poison, in few attempts and little time.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use host::chain::{Chain, Outlet};
use host::failures::{Failures, Policy, Rule};
use host::isolate::{Piece, isolate};
use host::message::{Batch, Fetch, Rejected};
use host::plugin::{Engine, Limits, Rejection};
use host::version::Version;
use serde_json::{Value, json};

use crate::program::plugin;

/// A chain of the hostile plugin, one for each of the settings.
fn chain(engine: &Engine, settings: &[Value], limits: &Limits) -> Vec<Version> {
    let hostile = engine.load(&plugin("hostile")).unwrap();
    let version = |(number, settings): (u8, &Value)| {
        Version::new(hostile.clone(), settings.clone(), limits.clone(), number).unwrap()
    };
    (0..).zip(settings).map(version).collect()
}

fn rule(policy: Policy, most: u32) -> Failures {
    Failures::new(Rule { policy, most, of: 10_000 })
}

/// Numbered messages, of which some are poison. Offsets have gaps, in which there is input that became no message.
fn fetch(messages: usize, poison: &BTreeSet<usize>, rng: &mut fastrand::Rng) -> Fetch {
    let mut fetch = Fetch::new(3, 0);
    for number in 0..messages {
        while rng.u32(..10) == 0 {
            reject(&mut fetch, rng);
        }
        let word = if poison.contains(&number) { "poison" } else { "food" };
        let key = format!("{}", number % 7);
        fetch.batch.push(Some(key.as_bytes()), Some(format!("\"{word} {number}\"").as_bytes()), number as i64);
        fetch.offsets.push(fetch.next);
        fetch.next += rng.i64(1..4);
    }
    while rng.bool() {
        reject(&mut fetch, rng);
    }
    fetch
}

fn reject(fetch: &mut Fetch, rng: &mut fastrand::Rng) {
    let (offset, value) = (fetch.next, b"?".to_vec());
    fetch.rejected.push(Rejected { offset, key: None, value, cause: "nothing", reason: String::new() });
    fetch.next += rng.i64(1..4);
}

/// What was found, and how many chains were opened for that.
fn find(versions: &[Version], fetch: &Fetch, failures: &mut Failures) -> (anyhow::Result<Vec<Piece>>, usize) {
    let mut opened = 0;
    let mut fresh = || {
        opened += 1;
        Ok(Chain::open(versions, 0)?)
    };
    let pieces = isolate(fetch.clone(), &mut fresh, failures);
    (pieces, opened)
}

fn part(piece: &Piece) -> &Fetch {
    match piece {
        Piece::Good(part) | Piece::Poison(part, _) => part,
    }
}

/// The values that come out.
struct Out(Vec<String>);

impl Outlet for Out {
    fn rejected(&mut self, _: &Version, rejected: &[Rejection], _: &Batch, _: &[i64]) -> anyhow::Result<()> {
        anyhow::ensure!(rejected.is_empty(), "this plugin rejects nothing");
        Ok(())
    }

    fn output(&mut self, batch: &Batch, _: &[i64], _: i64) -> anyhow::Result<()> {
        self.0.extend(batch.values.iter().map(|value| String::from_utf8(value.unwrap().to_vec()).unwrap()));
        Ok(())
    }
}

#[test]
fn exactly_the_poison_is_found_wherever_it_is() {
    let seed = std::env::var("POISON_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("again with POISON_SEED={seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let engine = Engine::new().unwrap();
    let (counts, traps) = (json!({"how": "echo", "keep": true}), json!({"how": "trap", "marked": true, "keep": true}));
    for settings in [vec![traps.clone()], vec![counts, traps]] {
        let versions = chain(&engine, &settings, &Limits::default());
        for round in 0..40 {
            // A message that is alone, the first and the last one of many, and then any.
            let messages = if round == 0 { 1 } else { rng.usize(1..600) };
            let mut poison: BTreeSet<usize> = (0..rng.usize(..5)).map(|_| rng.usize(..messages)).collect();
            poison.extend([0].iter().filter(|_| round < 5).chain([messages - 1].iter().filter(|_| round % 3 == 0)));
            let fetch = fetch(messages, &poison, &mut rng);
            let (pieces, opened) = find(&versions, &fetch, &mut rule(Policy::DeadLetter, 100));
            let pieces = pieces.unwrap();

            // Two levels of 16 make 256 parts, three all of them: so often a part fails for each, and then the message.
            assert!(opened <= 1 + 4 * poison.len(), "{opened} chains for {} of {messages}", poison.len());
            let found = |piece: &Piece| matches!(piece, Piece::Poison(..)).then(|| part(piece).offsets.clone());
            let expected: Vec<i64> = poison.iter().map(|&number| fetch.offsets[number]).collect();
            assert_eq!(pieces.iter().filter_map(found).flatten().collect::<Vec<_>>(), expected);
            // All is there once, in its order, and nothing is between two pieces.
            let offsets = pieces.iter().flat_map(|piece| part(piece).offsets.clone());
            assert!(offsets.eq(fetch.offsets.iter().copied()));
            let rejected: Vec<Rejected> = pieces.iter().flat_map(|piece| part(piece).rejected.clone()).collect();
            assert_eq!(rejected, fetch.rejected);
            assert!(pieces.windows(2).all(|two| part(&two[0]).next == part(&two[1]).offsets[0]));
            assert_eq!(part(pieces.last().unwrap()).next, fetch.next);
            // What is left goes through, as if the poison had never been.
            let mut again = Chain::open(&versions, 0).unwrap();
            let mut out = Out(Vec::new());
            for piece in &pieces {
                if let Piece::Good(part) = piece {
                    again.put_through(0, part.batch.clone(), part.offsets.clone(), part.first(), &mut out).unwrap();
                }
            }
            assert_eq!(out.0, counted(messages, &poison, settings.len()));
        }
    }
}

/// What one or two plugins that count make of the messages that are no poison.
fn counted(messages: usize, poison: &BTreeSet<usize>, plugins: usize) -> Vec<String> {
    let mut counts = [0; 7];
    let good = (0..messages).filter(|number| !poison.contains(number));
    let text = |number: usize| {
        counts[number % 7] += 1;
        let count = counts[number % 7];
        (0..plugins).fold(format!("\"food {number}\""), |text, _| format!("{{\"count\":{count},\"message\":{text}}}"))
    };
    good.map(text).collect()
}

#[test]
fn what_only_fails_as_a_whole_goes_through_in_pieces() {
    let engine = Engine::new().unwrap();
    let limits = Limits { output_messages: 100, ..Limits::default() };
    let versions = chain(&engine, &[json!({"how": "echo", "keep": true})], &limits);
    let fetch = fetch(1_000, &BTreeSet::new(), &mut fastrand::Rng::with_seed(1));
    let (pieces, opened) = find(&versions, &fetch, &mut rule(Policy::DeadLetter, 0));
    let pieces = pieces.unwrap();
    assert!(pieces.iter().all(|piece| matches!(piece, Piece::Good(part) if part.batch.len() <= 100)));
    assert_eq!((pieces.iter().map(|piece| part(piece).batch.len()).sum::<usize>(), opened), (1_000, 1));
}

#[test]
fn input_without_a_message_is_no_poison() {
    let versions = chain(&Engine::new().unwrap(), &[json!({"how": "trap"})], &Limits::default());
    let mut fetch = Fetch::new(0, 0);
    reject(&mut fetch, &mut fastrand::Rng::with_seed(1));
    let (pieces, opened) = find(&versions, &fetch, &mut rule(Policy::DeadLetter, 0));
    assert!(matches!(&pieces.unwrap()[..], [Piece::Good(part)] if part.rejected.len() == 1) && opened == 0);
}

/// Halved, with all the time for each half, it would take ten times the time of a call.
#[test]
fn an_endless_loop_costs_little_more_than_one_call() {
    let limits = Limits { call: Duration::from_millis(500), ..Limits::default() };
    let versions = chain(&Engine::new().unwrap(), &[json!({"how": "loop-in-process", "marked": true})], &limits);
    let fetch = fetch(1_000, &[617].into(), &mut fastrand::Rng::with_seed(1));
    let start = Instant::now();
    let (pieces, opened) = find(&versions, &fetch, &mut rule(Policy::DeadLetter, 1));
    let took = start.elapsed();
    let pieces = pieces.unwrap();
    let Some(Piece::Poison(part, failed)) = pieces.iter().find(|piece| matches!(piece, Piece::Poison(..))) else {
        panic!("it was not found");
    };
    assert_eq!((&part.offsets[..], failed.stage), (&fetch.offsets[617..618], 0));
    assert!(failed.to_string().contains("it ran longer than 500ms"), "{failed}");
    assert!(!failed.error.backtrace().is_empty(), "nothing says where it ran");
    assert!(took < 4 * limits.call && opened <= 5, "{took:?}, {opened} chains");
}

#[test]
fn where_all_is_poison_it_is_over_soon() {
    let versions = chain(&Engine::new().unwrap(), &[json!({"how": "trap"})], &Limits::default());
    let fetch = fetch(4_096, &BTreeSet::new(), &mut fastrand::Rng::with_seed(1));
    let (pieces, opened) = find(&versions, &fetch, &mut rule(Policy::DeadLetter, 10));
    let error = pieces.err().unwrap().to_string();
    assert!(
        error.starts_with("11 of the last 11 messages made a plugin fail, where 10 of 10000 are the most;"),
        "{error}"
    );
    assert!(
        error.contains(&format!("At offset {} of partition 3: plugin hostile 0.1.0 failed", fetch.offsets[10])),
        "{error}"
    );
    assert!(opened < 20, "{opened} chains");
    // Whoever is to stop looks no further than the first one.
    let (pieces, opened) = find(&versions, &fetch, &mut rule(Policy::Stop, 0));
    assert!(matches!(&pieces.unwrap()[..], [Piece::Poison(part, _)] if part.offsets == fetch.offsets[..1]));
    assert!(opened < 5, "{opened} chains");
}
