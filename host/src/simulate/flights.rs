//! Airline routes of the shape of OpenFlights' `routes.dat`: one row a reply, or a whole file.
//!
//! A row is airline, airline id, source airport, its id, destination airport, its id, codeshare, stops, equipment; an id
//! that is not known is `\N`. A reply is a row as the host reads it from the file: a JSON array of texts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::Query;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use fastrand::Rng;

use crate::uri::Flights;

pub(super) const ROUTE: &str = "/route";
pub(super) const FILE: &str = "/routes.dat";

/// How many rows the real file has, and the most that are given at once.
const ROWS: u64 = 67_663;
const MOST_ROWS: u64 = 1_000_000;

/// Of a thousand ids, how many are not known.
const UNKNOWN: u32 = 5;

const AIRLINES: [(&str, u32); 10] = [
    ("AA", 24),
    ("AF", 137),
    ("BA", 1355),
    ("CZ", 1767),
    ("DL", 2009),
    ("FR", 4296),
    ("LH", 3320),
    ("MU", 1758),
    ("UA", 5209),
    ("US", 5265),
];

const AIRPORTS: [(&str, u32); 16] = [
    ("AMS", 580),
    ("ATL", 3682),
    ("BCN", 1218),
    ("CDG", 1382),
    ("DEN", 3751),
    ("DFW", 3670),
    ("FRA", 340),
    ("ICN", 3930),
    ("IST", 1701),
    ("JFK", 3797),
    ("LAX", 3484),
    ("LHR", 507),
    ("ORD", 3830),
    ("PEK", 3364),
    ("PVG", 3406),
    ("SIN", 3316),
];

const EQUIPMENT: [&str; 10] = ["320", "738", "319", "321", "73H", "ERJ", "CRJ", "320 319", "738 73H", ""];

/// The row of this number; the same for the same seed.
pub fn row(seed: u64, number: u64) -> [String; 9] {
    // Of neighbouring seeds the first numbers are alike: so one that is drawn from both.
    let mut random = Rng::with_seed(Rng::with_seed(seed).u64(..) ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let (airline, of_airline) = random.choice(AIRLINES).unwrap_or(AIRLINES[0]);
    let (source, of_source) = random.choice(AIRPORTS).unwrap_or(AIRPORTS[0]);
    let (destination, of_destination) = random.choice(AIRPORTS).unwrap_or(AIRPORTS[0]);
    let codeshare = if random.u8(..5) == 0 { "Y" } else { "" };
    let stops = u8::from(random.u16(..1_000) == 0);
    let equipment = random.choice(EQUIPMENT).unwrap_or_default();
    let mut id = |id: u32| if random.u32(..1_000) < UNKNOWN { "\\N".to_owned() } else { id.to_string() };
    [
        airline.to_owned(),
        id(of_airline),
        source.to_owned(),
        id(of_source),
        destination.to_owned(),
        id(of_destination),
        codeshare.to_owned(),
        stops.to_string(),
        equipment.to_owned(),
    ]
}

#[derive(serde::Deserialize)]
struct Asked {
    rows: Option<u64>,
}

pub(super) fn router(options: &Flights) -> Router {
    let seed = options.seed;
    let next = Arc::new(AtomicU64::new(0));
    let route = move || {
        let row = row(seed, next.fetch_add(1, Ordering::Relaxed));
        std::future::ready(([(CONTENT_TYPE, "application/json")], serde_json::json!(row).to_string()))
    };
    let file = move |Query(Asked { rows }): Query<Asked>| {
        let rows = rows.unwrap_or(ROWS).min(MOST_ROWS);
        let file: String = (0..rows).map(|number| row(seed, number).join(",") + "\n").collect();
        std::future::ready(([(CONTENT_TYPE, "text/csv")], file))
    };
    Router::new().route(ROUTE, get(route)).route(FILE, get(file))
}
