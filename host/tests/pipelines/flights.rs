//! Pipeline 3: routes from a file through Kafka, checked by their schema, into a table that is asked over HTTP.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

use host::simulate::flights;
use serde_json::{Value, json};

use crate::query::Asked;

/// Columns of a row.
const SOURCE_AIRPORT: usize = 2;
const EQUIPMENT: usize = 8;

struct Flights {
    asked: Asked,
    /// Where its dead letters are.
    letters: String,
}

impl Flights {
    /// Runs the pipeline on a file, in topics of its own.
    fn start(routes: &Path) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let name = format!("{}-{:08x}", std::process::id(), fastrand::u32(..));
        let (brokers, registry) = (crate::kafka::brokers(), crate::schema::registry::registry());
        let letters = format!("flights-{name}.dead");
        super::write(
            directory.path(),
            "flights.toml",
            &[
                ("file:routes.dat", &format!("file:{}", routes.display())),
                ("kafka://localhost:9092/flights.dead", &format!("kafka://{brokers}/{letters}")),
                ("kafka://localhost:9092/airline-routes", &format!("kafka://{brokers}/airline-routes-{name}")),
                (
                    "# With a schema registry:  schema.registry = \"http://localhost:8081/apis/ccompat/v7\"",
                    &format!("schema.registry = {registry:?}"),
                ),
                ("format = \"csv\"", &format!("format = \"csv\"\ngroup = \"flights-{name}\"")),
                ("127.0.0.1:8090\"\nbegin", "127.0.0.1:0\"\nbegin"),
            ],
        );
        Self { asked: Asked::run(directory, "flights.toml"), letters }
    }

    fn data(&self, name: &str) -> Vec<Value> {
        self.asked.data(&format!("/{name}"))
    }

    /// What an answer was saved as.
    fn saved(&self, name: &str) -> Vec<csv::StringRecord> {
        let path = self.asked.path().join("results").join(format!("{name}.csv"));
        csv::Reader::from_path(path).unwrap().records().map(Result::unwrap).collect()
    }
}

/// `ATL 915` and so on.
fn ranked(rows: &[Value], by: &str) -> Vec<(String, u64)> {
    rows.iter().map(|row| (row[by].as_str().unwrap().to_owned(), row["count"].as_u64().unwrap())).collect()
}

#[test]
fn the_routes_of_openflights_give_exactly_the_known_counts() {
    let Some(routes) = std::env::var_os("OPENFLIGHTS").map(|folder| Path::new(&folder).join("routes.dat")) else {
        println!(
            "skipped: the folder of https://github.com/jpatokal/openflights/tree/master/data is not in OPENFLIGHTS"
        );
        return;
    };
    let start = Instant::now();
    let flights = Flights::start(&routes);
    let report = json!({
        "total": 67_663, "success": 66_765, "success_percent": 98.67,
        "errors": {
            "transform": {"count": 898, "percent": 1.33},
            "invalid schema": {"count": 0, "percent": 0.0},
        },
    });
    assert_eq!(flights.data("produce"), [report]);
    println!("67,663 routes through Kafka and into the table: {:?} from the start of the program", start.elapsed());
    let expected = [
        ("ATL", 915),
        ("ORD", 558),
        ("PEK", 535),
        ("LHR", 525),
        ("CDG", 524),
        ("FRA", 497),
        ("LAX", 492),
        ("DFW", 469),
        ("JFK", 456),
        ("AMS", 453),
    ];
    let expected = expected.map(|(airport, count)| (airport.to_owned(), count));
    assert_eq!(ranked(&flights.data("top10_source_airport"), "source_airport"), expected);
    let saved = flights.saved("top10_source_airport");
    assert!(saved.iter().map(|row| (row[0].to_owned(), row[1].parse().unwrap())).eq(expected));
    assert_eq!(crate::kafka::console_consumer(&flights.letters).len(), 898);
    flights.asked.end_well();
}

#[test]
fn generated_routes_give_what_a_reference_counts() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let rows: Vec<_> = (0..5_000).map(|number| flights::row(seed, number)).collect();
    let folder = tempfile::tempdir().unwrap();
    let routes = folder.path().join("generated.dat");
    std::fs::write(&routes, rows.iter().map(|row| row.join(",") + "\n").collect::<String>()).unwrap();
    let (good, bad): (Vec<_>, Vec<_>) = rows.iter().partition(|row| [1, 3, 5].iter().all(|id| row[*id] != "\\N"));

    let flights = Flights::start(&routes);
    let report = &flights.data("produce")[0];
    assert_eq!([&report["total"], &report["success"]], [&json!(5_000), &json!(good.len())]);
    let causes = ["transform", "invalid schema"].map(|cause| report["errors"][cause]["count"].as_u64());
    assert_eq!(causes, [Some(bad.len() as u64), Some(0)]);

    let top = |column: usize| {
        let mut counts = BTreeMap::<&str, u64>::new();
        good.iter().for_each(|row| *counts.entry(row[column].as_str()).or_default() += 1);
        let mut ranked: Vec<_> = counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
        ranked.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), name.clone()));
        ranked.truncate(10);
        ranked
    };
    assert_eq!(ranked(&flights.data("top10_source_airport"), "source_airport"), top(SOURCE_AIRPORT));
    // All rows have the time of the file, and so are in one window.
    let windows = flights.data("top10_equipment_30min_window");
    assert_eq!(ranked(&windows, "equipment"), top(EQUIPMENT));
    for window in &windows {
        let edge = |name: &str| window[name].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second();
        assert_eq!((edge("end") - edge("start"), edge("start") % 30), (30, 0));
    }

    let events = flights.data("dump_table");
    let ids: BTreeSet<&str> = events.iter().map(|event| event["id"].as_str().unwrap()).collect();
    assert_eq!((events.len(), ids.len(), flights.saved("dump_table").len()), (good.len(), good.len(), good.len()));
    let columns = ["airline", "source_airport", "destination_airport", "equipment"];
    let numbers = ["airline_id", "source_airport_id", "destination_airport_id", "stops"];
    let found: BTreeSet<String> = events
        .iter()
        .map(|event| {
            let text = columns.map(|column| event[column].as_str().unwrap().to_owned());
            let number = numbers.map(|column| event[column].as_i64().unwrap().to_string());
            let codeshare = if event["codeshare"] == json!(true) || event["codeshare"] == 1 { "Y" } else { "" };
            let [airline, source, destination, equipment] = text;
            let [airline_id, source_id, destination_id, stops] = number;
            [&airline, &airline_id, &source, &source_id, &destination, &destination_id, codeshare, &stops, &equipment]
                .join(",")
        })
        .collect();
    assert_eq!(found, good.iter().map(|row| row.join(",")).collect::<BTreeSet<_>>());
    assert_eq!(crate::kafka::console_consumer(&flights.letters).len(), bad.len());

    // The same file read by another group gives the same ids.
    let again = Flights::start(&routes);
    again.data("produce");
    let same: BTreeSet<String> =
        again.data("dump_table").iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect();
    assert!(same.iter().map(String::as_str).eq(ids));
}
