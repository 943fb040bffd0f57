//! Turnstiles of a subway: each reply is a row of CSV with what one of them has counted, by itself in a message.
//!
//! `CA,UNIT,SCP,STATION,LINENAME,DIVISION,DATE,TIME,DESC,ENTRIES,EXITS,ID,TIMESTAMP`, times in UTC. With duplicates a reply
//! is now and then one of the last again, byte for byte; with late ones its time is now and then long past.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use fastrand::Rng;
use jiff::Timestamp;
use jiff::fmt::strtime;

use super::Clock;
use crate::uri::Turnstiles;

pub(super) const PATH: &str = "/turnstiles.csv";

/// When simulated time starts: 15 August 2023, 14:05:10, in milliseconds since the Unix epoch.
const START: i64 = 1_692_108_310_000;

/// How many replies back a duplicate is of.
const RECENT: usize = 8;

/// How long past the time of a late message is, in minutes.
const LATE: std::ops::Range<i64> = 10..60;

/// Control area, unit, station, lines and division of stations of New York's subway.
const STATIONS: [(&str, &str, &str, &str, &str); 10] = [
    ("A002", "R051", "59 ST", "NQR456W", "BMT"),
    ("A006", "R079", "5 AV-59 ST", "NQRW", "BMT"),
    ("A011", "R080", "57 ST-7 AV", "NQRW", "BMT"),
    ("A021", "R032", "TIMES SQ-42 ST", "ACENQRS1237W", "BMT"),
    ("A022", "R022", "34 ST-HERALD SQ", "BDFMNQRW", "BMT"),
    ("A033", "R170", "14 ST-UNION SQ", "LNQR456W", "BMT"),
    ("N063A", "R011", "42 ST-PORT AUTH", "ACENQRS1237W", "IND"),
    ("N506", "R022", "34 ST-HERALD SQ", "BDFMNQRW", "IND"),
    ("R238", "R046", "GRD CNTRL-42 ST", "4567S", "IRT"),
    ("R240", "R047", "GRD CNTRL-42 ST", "4567S", "IRT"),
];

/// The replies, one after the other.
pub struct Feed {
    clock: Clock,
    random: Rng,
    duplicates: f64,
    late: f64,
    recent: VecDeque<String>,
}

impl Feed {
    pub fn new(options: &Turnstiles) -> Self {
        Self {
            clock: Clock::new(START, options.step),
            random: Rng::with_seed(options.seed),
            duplicates: options.duplicates,
            late: options.late,
            recent: VecDeque::new(),
        }
    }

    /// The next reply.
    pub fn message(&mut self) -> String {
        if self.random.f64() < self.duplicates && !self.recent.is_empty() {
            return self.recent[self.random.usize(..self.recent.len())].clone();
        }
        let late = if self.random.f64() < self.late { self.random.i64(LATE) * 60_000 } else { 0 };
        let message = self.count(self.clock.tick() - late);
        self.recent.truncate(RECENT - 1);
        self.recent.push_front(message.clone());
        message
    }

    /// What a turnstile has counted at `time`.
    fn count(&mut self, time: i64) -> String {
        let random = &mut self.random;
        let (area, unit, station, lines, division) = STATIONS[random.usize(..STATIONS.len())];
        let turnstile = format!("02-{:02}-{:02}", random.u8(..2), random.u8(..4));
        let description = if random.u8(..) < 5 { "RECOVR AUD" } else { "REGULAR" };
        let (entries, exits) = (random.u32(..30), random.u32(..30));
        let id = uuid::Builder::from_random_bytes(random.u128(..).to_be_bytes()).into_uuid();
        // Of a step that leaves the years that there are, the clock stands still.
        let time = Timestamp::from_millisecond(time).unwrap_or(Timestamp::MAX);
        let written = |format| strtime::format(format, time).unwrap_or_default();
        let (date, hour, timestamp) = (written("%m-%d-%y"), written("%H:%M:%S"), written("%Y-%m-%d %H:%M:%S"));
        format!(
            "{area},{unit},{turnstile},{station},{lines},{division},{date},{hour},{description},{entries},{exits},{id},{timestamp}"
        )
    }
}

pub(super) fn router(options: &Turnstiles) -> Router {
    let feed = Arc::new(Mutex::new(Feed::new(options)));
    let reply = move || {
        let message = feed.lock().unwrap_or_else(PoisonError::into_inner).message();
        std::future::ready(([(CONTENT_TYPE, "text/csv")], message))
    };
    Router::new().route(PATH, get(reply))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(duplicates: f64, late: f64) -> Vec<String> {
        let mut feed = Feed::new(&Turnstiles { step: Some(10_000), seed: 7, duplicates, late });
        (0..2_000).map(|_| feed.message()).collect()
    }

    #[test]
    fn a_reply_has_the_form_of_the_real_ones() {
        let first = &messages(0.0, 0.0)[0];
        let cells: Vec<&str> = first.split(',').collect();
        assert_eq!(cells.len(), 13);
        assert_eq!((cells[6], cells[7], cells[12]), ("08-15-23", "14:05:10", "2023-08-15 14:05:10"));
        let id: uuid::Uuid = cells[11].parse().unwrap();
        assert_eq!((id.get_version_num(), cells[11].len()), (4, 36));
        assert!(cells[9].parse::<u32>().is_ok() && cells[10].parse::<u32>().is_ok(), "{first}");
    }

    #[test]
    fn duplicates_and_late_messages_come_as_often_as_asked_and_again_with_the_seed() {
        let all = messages(0.05, 0.02);
        assert_eq!(all, messages(0.05, 0.02));
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        let repeated = all.len() - distinct.len();
        assert!((60..150).contains(&repeated), "{repeated} of {} repeat one", all.len());
        let time = |message: &&String| message.rsplit(',').next().unwrap().to_owned();
        let mut highest = String::new();
        let late = distinct.len();
        let ordered = all.iter().filter(|message| {
            let ahead = time(message) > highest;
            if ahead {
                highest = time(message);
            }
            ahead
        });
        let late = late - ordered.count();
        assert!((15..80).contains(&late), "{late} of {} are late", all.len());
        assert!(messages(0.0, 0.0).iter().map(|message| time(&message)).is_sorted());
    }
}
