//! To compressed CSV files and to Parquet files in a bucket, and kill -9 of the host and of the service (faults 1, 16 and 22).

use std::path::Path;
use std::time::Duration;

use xtask::minio::Minio;

use super::chance::{Chance, pass};
use super::pipeline::Work;
use super::stream::Stream;
use crate::pipelines::iss_s3::Polled;
use crate::s3::options_at;

#[test]
fn what_is_in_a_bucket_outlives_host_and_service() {
    ["csv", "parquet"].into_iter().for_each(outlives);
}

fn outlives(format: &str) {
    let mut chance = Chance::of("s3-kills");
    let mut minio = service();
    let stream = Stream::on_kafka(&format!("s3-kills-{format}"), &chance, Work::Flatten, 2);
    let stream = stream.into_bucket(options_at(&minio.endpoint()), format);
    let feeder = stream.load();
    let mut host = stream.start();
    for kill_host in faults(&mut chance) {
        let before = stream.beyond(-1);
        stream.beyond(before);
        let moment = chance.pass(Duration::from_millis(1_000));
        if kill_host {
            host.kill();
            host = stream.start();
        } else {
            cut_off(&mut minio, &chance);
        }
        println!("{format}: the {} killed after {moment:?}", if kill_host { "host" } else { "service" });
        stream.goes_on(&kill_host, &mut host);
    }
    let sent = feeder.end();
    host.kill();
    stream.conclude(sent);
    assert_eq!(minio.uploads().expect("its folder"), 0, "uploads that nobody has ended");
}

/// The pipeline `iss-s3.toml`, which polls as well.
#[test]
fn positions_outlive_host_and_service() {
    let mut chance = Chance::of("s3-kills");
    let mut minio = service();
    let pipeline = Polled::into(minio.endpoint(), "every = \"200ms\"");
    let mut polled = 0;
    let mut host = pipeline.start();
    for kill_host in faults(&mut chance) {
        polled = pipeline.polled(polled + 100);
        chance.pass(Duration::from_millis(1_000));
        if kill_host {
            host.stop("KILL");
            host = pipeline.start();
        } else {
            cut_off(&mut minio, &chance);
        }
        assert!(host.is_running());
    }
    pipeline.polled(polled + 100);
    host.stop("KILL");
    println!("{} positions, each once", pipeline.conclude());
    assert_eq!(minio.uploads().expect("its folder"), 0, "uploads that nobody has ended");
}

fn service() -> Minio {
    Minio::scratch(Path::new(env!("CARGO_TARGET_TMPDIR"))).expect("a service")
}

/// In any order: whether the host is killed, or the service.
fn faults(chance: &mut Chance) -> Vec<bool> {
    let mut faults = [true].repeat(chance.scale(4, 20));
    faults.extend([false].repeat(chance.scale(1, 5)));
    chance.shuffle(&mut faults);
    faults
}

fn cut_off(minio: &mut Minio, chance: &Chance) {
    minio.kill();
    pass(Duration::from_secs(chance.scale(1, 10)));
    minio.restart().expect("the service comes back");
}
