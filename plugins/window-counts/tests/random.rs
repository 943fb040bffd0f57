//! Random messages against a reference that goes through all of them for each window, for batches of 1, 7 and 1,000 and
//! with new instances in between that go on from the state that was kept. Outputs are compared byte by byte. `SEED=n`
//! repeats a run.

use std::collections::{BTreeMap, BTreeSet};

use apogee_sdk::wire::{Column, Entries};
use window_counts::WindowCounts;

use crate::{Outcome, advance, open, process};

/// A small random generator (xorshift), so that a printed seed repeats a run anywhere.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: i64) -> i64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as i64 % bound
    }
}

/// What happens, in order.
#[derive(Debug)]
pub enum Event {
    Message { group: &'static str, half: i64, id: i64, time: i64 },
    Advance(i64),
}

/// The settings, as the reference needs them.
#[derive(Debug)]
struct Case {
    window: Option<(i64, i64)>,
    gap: i64,
    grace: i64,
    ahead: Option<i64>,
    distinct: bool,
    change: bool,
}

impl Case {
    fn random(random: &mut Random) -> Self {
        let size = 1 + random.below(20);
        let slide = if random.below(2) == 0 { size } else { 1 + random.below(size) };
        let window = (random.below(3) > 0).then_some((size, slide));
        Self {
            window,
            gap: 1 + random.below(8),
            grace: random.below(2) * random.below(15),
            ahead: (random.below(3) == 0).then(|| random.below(40)),
            distinct: window.is_some() && random.below(2) == 0,
            change: random.below(4) == 0,
        }
    }

    fn settings(&self) -> String {
        let frame = match self.window {
            Some((size, slide)) => format!(r#""window":"{size}ms","slide":"{slide}ms""#),
            None => format!(r#""session":"{}ms""#, self.gap),
        };
        let ahead = self.ahead.map(|ahead| format!(r#","ahead":"{ahead}ms""#)).unwrap_or_default();
        let distinct = if self.distinct { r#","distinct":["id"]"# } else { "" };
        let emit = if self.change { "change" } else { "close" };
        format!(
            r#"{{{frame},"grace":"{}ms","by":["g"],"aggregates":["count","sum(v)","max(v)"],"emit":"{emit}"{ahead}{distinct}}}"#,
            self.grace
        )
    }
}

pub fn events(random: &mut Random, count: usize) -> Vec<Event> {
    let mut now = -100;
    let event = |_| {
        now += random.below(4);
        let time = match random.below(20) {
            0 => now + random.below(200),
            1 => now - random.below(200),
            _ => now - random.below(12),
        };
        match random.below(30) {
            0 => Event::Advance(now - 5 + random.below(20)),
            _ => {
                let group = ["a", "b", "c c", "\u{e9}"][random.below(4) as usize];
                Event::Message { group, half: random.below(40) - 20, id: random.below(10), time }
            }
        }
    };
    (0..count).map(event).collect()
}

/// Halves, so that sums of floats are the same in any order.
fn number(half: i64) -> String {
    if half % 2 == 0 { (half / 2).to_string() } else { format!("{:.2}", half as f64 / 2.0) }
}

/// One window of the reference: the messages in it, by their index.
#[derive(Debug, Clone)]
struct Seen {
    group: &'static str,
    start: i64,
    end: i64,
    messages: BTreeSet<usize>,
}

/// Everything that must come out, by the event that brings it out: windows as group, JSON and timestamp, and rejected events.
fn reference(case: &Case, events: &[Event]) -> (Vec<(String, String, i64)>, BTreeSet<usize>) {
    let (mut out, mut rejected) = (Vec::new(), BTreeSet::new());
    let (mut stream, mut open): (Option<i64>, Vec<Seen>) = (None, Vec::new());
    for (index, event) in events.iter().enumerate() {
        match *event {
            Event::Advance(time) => stream = stream.map(|stream| stream.max(time)),
            Event::Message { group, time, id, .. } => {
                if let (Some(stream), Some(ahead)) = (stream, case.ahead)
                    && time > stream + ahead
                {
                    rejected.insert(index);
                    continue;
                }
                let now = stream.map_or(time, |stream| stream.max(time));
                let is_open = |end: i64| end + case.grace > now;
                // Each way that a window could lie around the message, one by one.
                let own: Vec<Seen> = match case.window {
                    Some((size, slide)) => (time - size + 1..=time)
                        .filter(|start| start.rem_euclid(slide) == 0 && is_open(start + size))
                        .map(|start| {
                            let known = open.iter().find(|it| it.group == group && it.start == start).cloned();
                            known.unwrap_or(Seen { group, start, end: start + size, messages: BTreeSet::new() })
                        })
                        .collect(),
                    None => {
                        let (start, end) = (time, time + case.gap);
                        let meets =
                            |it: &&Seen| it.group == group && it.start < end && start < it.end && is_open(it.end);
                        let join = |whole: Seen, it: &Seen| Seen {
                            start: whole.start.min(it.start),
                            end: whole.end.max(it.end),
                            messages: whole.messages.union(&it.messages).copied().collect(),
                            ..whole
                        };
                        let alone = Seen { group, start, end, messages: BTreeSet::new() };
                        let whole = open.iter().filter(meets).fold(alone, join);
                        open.retain(|it| !meets(&it));
                        if is_open(whole.end) { vec![whole] } else { Vec::new() }
                    }
                };
                if own.is_empty() {
                    rejected.insert(index);
                    continue;
                }
                stream = Some(now);
                for mut window in own {
                    let same = |it: &usize| matches!(events[*it], Event::Message { id: other, .. } if other == id);
                    let of_start = |it: &&Seen| it.start == window.start;
                    if case.distinct && open.iter().filter(of_start).any(|it| it.messages.iter().any(same)) {
                        continue;
                    }
                    open.retain(|it| (it.group, it.start) != (group, window.start));
                    window.messages.insert(index);
                    if case.change {
                        out.push(case.put(&window, events, time));
                    }
                    open.push(window);
                }
            }
        }
        let over = |it: &Seen| stream.is_some_and(|stream| it.end + case.grace <= stream);
        case.close(&mut open, over, events, &mut out);
    }
    case.close(&mut open, |_| true, events, &mut out);
    (out, rejected)
}

impl Case {
    fn close(
        &self,
        open: &mut Vec<Seen>,
        over: impl Fn(&Seen) -> bool,
        events: &[Event],
        out: &mut Vec<(String, String, i64)>,
    ) {
        let mut closed: Vec<Seen> = open.extract_if(.., |it| over(it)).collect();
        closed.sort_by_key(|it| (it.end, it.start, format!("\"{}\"", it.group)));
        if !self.change {
            out.extend(closed.iter().map(|it| self.put(it, events, it.end - 1)));
        }
    }

    /// A window as it is put out: from all its messages, one after the other.
    fn put(&self, window: &Seen, events: &[Event], timestamp: i64) -> (String, String, i64) {
        let half = |message: &usize| match events[*message] {
            Event::Message { half, .. } => Some(half),
            Event::Advance(_) => None,
        };
        let halves: Vec<i64> = window.messages.iter().filter_map(half).collect();
        let sum: i64 = halves.iter().sum();
        let exact = halves.iter().all(|half| half % 2 == 0);
        let sum = if exact { (sum / 2).to_string() } else { format!("{:?}", sum as f64 / 2.0) };
        let max = halves.iter().max().copied().unwrap_or_default();
        let edge = |time: i64| jiff::Timestamp::from_millisecond(time).expect("a time");
        let json = format!(
            r#"{{"g":"{}","count":{},"sum_v":{sum},"max_v":{},"start":"{}","end":"{}"}}"#,
            window.group,
            halves.len(),
            number(max),
            edge(window.start),
            edge(window.end)
        );
        (window.group.to_owned(), json, timestamp)
    }
}

/// What a host keeps, by key.
pub type Kept = BTreeMap<Vec<u8>, Vec<u8>>;

/// Takes all changes, as a host does.
pub fn keep(plugin: &mut WindowCounts, kept: &mut Kept) {
    loop {
        let entries = apogee_sdk::changes(plugin);
        if entries.keys.lengths.is_empty() {
            return;
        }
        let keys = pieces(&entries.keys);
        assert!(keys.is_sorted(), "sorted by key within a call");
        for (key, value) in keys.into_iter().zip(pieces(&entries.values)) {
            match value {
                Some(value) => drop(kept.insert(key.expect("a key"), value)),
                None => drop(kept.remove(&key.expect("a key"))),
            }
        }
    }
}

fn pieces(column: &Column) -> Vec<Option<Vec<u8>>> {
    let mut bytes = &column.bytes[..];
    let piece = |length: &i32| {
        let (piece, rest) = bytes.split_at(usize::try_from(*length).ok()?);
        bytes = rest;
        Some(piece.to_vec())
    };
    column.lengths.iter().map(piece).collect()
}

/// A new instance that has what was kept, given in parts of a random size and order.
fn reopen(settings: &str, kept: &Kept, random: &mut Random) -> WindowCounts {
    let mut plugin = take_back(settings, env!("CARGO_PKG_VERSION"), kept, random);
    let unchanged = apogee_sdk::changes(&mut plugin);
    assert!(unchanged.keys.lengths.is_empty(), "what was taken back has not changed");
    plugin
}

/// A new instance that has what was kept by `version`.
pub fn take_back(settings: &str, version: &str, kept: &Kept, random: &mut Random) -> WindowCounts {
    let mut plugin = open(settings);
    let mut entries: Vec<_> = kept.iter().collect();
    for place in (1..entries.len()).rev() {
        entries.swap(place, random.below(place as i64 + 1) as usize);
    }
    for part in entries.chunks(1 + random.below(50) as usize) {
        let mut columns = [(); 2].map(|()| Column { bytes: Vec::new(), lengths: Vec::new() });
        for (key, value) in part {
            for (column, bytes) in columns.iter_mut().zip([key, value]) {
                column.bytes.extend_from_slice(bytes);
                column.lengths.push(bytes.len() as i32);
            }
        }
        let [keys, values] = columns;
        apogee_sdk::restore(&mut plugin, version, Entries { keys, values }).expect("its own state");
    }
    plugin
}

/// The message of an event.
pub fn message(event: &Event) -> Option<(Option<&'static str>, String, i64)> {
    match event {
        Event::Message { group, half, id, time } => {
            Some((None, format!(r#"{{"g":"{group}","v":{},"id":{id}}}"#, number(*half)), *time))
        }
        Event::Advance(_) => None,
    }
}

/// Puts everything through in batches of at most `size`; with restarts where `random` says so.
fn run(settings: &str, events: &[Event], size: usize, random: &mut Random) -> (Outcome, Kept) {
    let (mut plugin, mut kept, mut whole) = (open(settings), Kept::new(), Outcome::default());
    let mut at = 0;
    while at < events.len() {
        let batch: Vec<_> = events[at..].iter().take(size).map_while(message).collect();
        let mut outcome = match events[at] {
            Event::Advance(time) => advance(&mut plugin, time),
            Event::Message { .. } => process(&mut plugin, &batch),
        };
        whole.windows.append(&mut outcome.windows);
        whole.rejected.extend(outcome.rejected.into_iter().map(|(message, why)| (at as u32 + message, why)));
        at += batch.len().max(1);
        if random.below(5) == 0 {
            keep(&mut plugin, &mut kept);
            if random.below(2) == 0 {
                plugin = reopen(settings, &kept, random);
            }
        }
    }
    whole.windows.append(&mut advance(&mut plugin, i64::MAX).windows);
    keep(&mut plugin, &mut kept);
    (whole, kept)
}

#[test]
fn windows_are_those_of_the_reference_whatever_the_batches_and_restarts() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |now| now.as_nanos() as u64);
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(now);
    println!("SEED={seed}");
    let mut random = Random(seed | 1);
    let (mut put_out, mut refused) = (0, 0);
    for _ in 0..150 {
        let case = Case::random(&mut random);
        let events = events(&mut random, 300);
        let (windows, rejected) = reference(&case, &events);
        let expected: Vec<_> = windows.into_iter().map(|(key, json, time)| (Some(key), json, time)).collect();
        for size in [1, 7, 1000] {
            let (outcome, kept) = run(&case.settings(), &events, size, &mut random);
            for (place, (found, expected)) in outcome.windows.iter().zip(&expected).enumerate() {
                assert_eq!(found, expected, "SEED={seed}, window {place}, batches of {size}, {case:?}");
            }
            assert_eq!(outcome.windows.len(), expected.len(), "SEED={seed}, batches of {size}, {case:?}");
            let found: BTreeSet<usize> = outcome.rejected.iter().map(|(index, _)| *index as usize).collect();
            assert_eq!(found, rejected, "SEED={seed}, batches of {size}, {case:?}");
            assert_eq!(
                kept.len(),
                2,
                "of what is over only stream time is kept, and the settings: SEED={seed} {case:?}"
            );
        }
        put_out += expected.len();
        refused += rejected.len();
    }
    assert!(put_out > 2_000 && refused > 500, "both were tried: {put_out} windows, {refused} rejections");
}
