//! The topics that the bench reads, filled once each.

use host::log::Log;
use host::log::kafka::Kafka;
use host::message::Batch;

/// Which broker, and how much.
pub struct Setting {
    /// `HOST:PORT` of a real broker: `KAFKA_BROKERS`, which `cargo xtask bench` sets.
    pub broker: String,
    pub messages: u64,
}

impl Setting {
    pub fn from_environment() -> Self {
        Self {
            broker: std::env::var("KAFKA_BROKERS").expect("KAFKA_BROKERS: run this through `cargo xtask bench`"),
            messages: std::env::var("BENCH_MESSAGES").map_or(2_000_000, |n| n.parse().expect("a number")),
        }
    }

    pub fn kafka(&self) -> Kafka {
        Kafka::connect(&self.broker, &Default::default()).expect("a broker")
    }

    /// Creates a topic of this bench and fills it with what `message` appends; gives its name.
    pub fn fill(&self, name: &str, partitions: u32, messages: u64, mut message: impl FnMut(u64, &mut Batch)) -> String {
        let name = format!("bench-{}-{name}", std::process::id());
        let kafka = self.kafka();
        kafka.create_topic(&name, partitions).expect("a topic");
        let mut writer = kafka.writer(&name).expect("a writer");
        let mut batch = Batch::new();
        for index in 0..messages {
            message(index, &mut batch);
            if batch.len() >= 10_000 || index + 1 == messages {
                writer.append(&std::mem::take(&mut batch)).expect("an append");
            }
        }
        writer.flush().expect("a flush");
        name
    }
}

/// An Open Notify reply of a made-up track, one a second.
pub fn open_notify(index: u64, batch: &mut Batch) {
    let time = 1_690_000_000 + index as i64;
    let longitude = (index * 7_919 % 3_600_000) as f64 / 10_000.0 - 180.0;
    let latitude = (index * 104_729 % 1_032_000) as f64 / 10_000.0 - 51.6;
    let value = format!(
        r#"{{"iss_position": {{"longitude": "{longitude:.4}", "latitude": "{latitude:.4}"}}, "timestamp": {time}, "message": "success"}}"#
    );
    batch.push(None, Some(value.as_bytes()), time * 1_000);
}

/// How many stations [`where_the_iss_at`] knows.
pub const STATIONS: u64 = 16;

/// A reply of about 300 bytes of the wheretheiss.at shape, one a second for each station in turn; it is keyed by the
/// station.
pub fn where_the_iss_at(index: u64, batch: &mut Batch) {
    let (station, second) = (index % STATIONS, index / STATIONS);
    let time = 1_714_032_708 + second as i64;
    let latitude = (index * 104_729 % 1_032_000) as f64 / 10_000.0 - 51.6;
    let longitude = (index * 7_919 % 3_600_000) as f64 / 10_000.0 - 180.0;
    let altitude = 420.0 + (index * 31 % 1_000) as f64 / 50.0;
    let visibility = if second / 2_760 % 2 == 0 { "daylight" } else { "eclipsed" };
    let value = format!(
        r#"{{"name": "iss", "id": {id}, "latitude": {latitude:.12}, "longitude": {longitude:.11}, "altitude": {altitude:.11}, "velocity": 27538.217323796, "visibility": "{visibility}", "footprint": 4577.1935346024, "timestamp": {time}, "daynum": 2460425.8415278, "solar_lat": 13.394772525764, "solar_lon": 56.529414593886, "units": "kilometers"}}"#,
        id = 25_544 + station
    );
    batch.push(Some(station.to_string().as_bytes()), Some(value.as_bytes()), time * 1_000);
}
