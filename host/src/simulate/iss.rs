//! The International Space Station: a real orbit, served as Open Notify and as wheretheiss.at serve it.
//!
//! Both shapes are theirs byte for byte in keys, order, spacing and form of numbers. Any other path is 404.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread::JoinHandle;
use std::time::SystemTime;

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::sync::oneshot;

use super::orbit::{Position, position};
use crate::uri::{Shape, Simulate};

/// When simulated time starts: 22 July 2023, in milliseconds since the Unix epoch.
const START: i64 = 1_690_000_000_000;

const OPEN_NOTIFY: &str = "/iss-now.json";
const WHERE_THE_ISS_AT: &str = "/v1/satellites/25544";

/// A running simulator; it stops when dropped.
pub struct Server {
    pub address: SocketAddr,
    /// Dropped, it ends the thread.
    running: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves on `address` (port 0 chooses one). Paths: `/iss-now.json` (Open Notify) and
    /// `/v1/satellites/25544` (wheretheiss.at); `simulate.step` says how time passes for both together.
    pub fn start(simulate: &Simulate, address: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address).with_context(|| {
            format!("the simulated ISS cannot listen on {address}; choose another port, or 0 for a free one")
        })?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (running, stopped) = oneshot::channel();
        let router = router(Clock::new(simulate.step));
        let thread = std::thread::Builder::new().name("simulated iss".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    Err(error) = serve(listener, router) => tracing::error!("the simulated ISS stopped: {error}"),
                }
            });
        })?;
        Ok(Self { address, running: Some(running), thread: Some(thread) })
    }

    /// Where it serves `shape`.
    pub fn url(&self, shape: Shape) -> String {
        let path = match shape {
            Shape::OpenNotify => OPEN_NOTIFY,
            Shape::WhereTheIssAt => WHERE_THE_ISS_AT,
        };
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.running = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}

/// The wall clock, or one that moves by a step at each reply.
#[derive(Clone)]
enum Clock {
    Wall,
    Steps { next: Arc<AtomicI64>, step: i64 },
}

impl Clock {
    fn new(step: Option<u64>) -> Self {
        match step {
            None => Self::Wall,
            Some(step) => {
                Self::Steps { next: Arc::new(AtomicI64::new(START)), step: i64::try_from(step).unwrap_or(i64::MAX) }
            }
        }
    }

    /// Milliseconds since the Unix epoch.
    fn tick(&self) -> i64 {
        match self {
            Self::Wall => {
                let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
            }
            Self::Steps { next, step } => next.fetch_add(*step, Ordering::Relaxed),
        }
    }
}

async fn serve(listener: TcpListener, router: Router) -> std::io::Result<()> {
    axum::serve(tokio::net::TcpListener::from_std(listener)?, router).await
}

fn router(clock: Clock) -> Router {
    let open_notify = async |State(clock): State<Clock>| json(open_notify(clock.tick()));
    let where_the_iss_at = async |State(clock): State<Clock>| json(where_the_iss_at(clock.tick()));
    Router::new().route(OPEN_NOTIFY, get(open_notify)).route(WHERE_THE_ISS_AT, get(where_the_iss_at)).with_state(clock)
}

fn json(body: String) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], body)
}

/// What Open Notify replies `time` milliseconds after the Unix epoch.
pub fn open_notify(time: i64) -> String {
    let Position { latitude, longitude, .. } = position(time);
    let timestamp = time.div_euclid(1000);
    format!(
        r#"{{"iss_position": {{"longitude": "{longitude:.4}", "latitude": "{latitude:.4}"}}, "timestamp": {timestamp}, "message": "success"}}"#
    )
}

/// What wheretheiss.at replies `time` milliseconds after the Unix epoch.
pub fn where_the_iss_at(time: i64) -> String {
    let p = position(time);
    format!(
        concat!(
            r#"{{"name": "iss", "id": 25544, "latitude": {}, "longitude": {}, "altitude": {}, "velocity": {}, "#,
            r#""visibility": "{}", "footprint": {}, "timestamp": {}, "daynum": {}, "solar_lat": {}, "#,
            r#""solar_lon": {}, "units": "kilometers"}}"#
        ),
        significant(p.latitude),
        significant(p.longitude),
        significant(p.altitude),
        significant(p.velocity),
        if p.daylight { "daylight" } else { "eclipsed" },
        significant(p.footprint),
        time.div_euclid(1000),
        significant(p.julian_day),
        significant(p.solar_latitude),
        significant(p.solar_longitude),
    )
}

/// `number` to 14 significant digits without trailing zeros, as PHP writes it, in which that service is written.
fn significant(number: f64) -> String {
    let before_point = number.abs().log10().floor().clamp(-4.0, 12.0) as i32 + 1;
    let decimals = usize::try_from(14 - before_point).unwrap_or_default();
    let text = format!("{number:.decimals$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `text` with a `#` for each run of digits, so that only the form is left.
    fn form(text: &str) -> String {
        let mut form = String::new();
        for c in text.chars() {
            match c {
                '0'..='9' if form.ends_with('#') => {}
                '0'..='9' => form.push('#'),
                '-' => {}
                c => form.push(c),
            }
        }
        form
    }

    #[test]
    fn the_replies_have_the_form_of_the_real_ones() {
        let real = r#"{"iss_position": {"longitude": "-85.6433", "latitude": "-15.3433"}, "timestamp": 1690000000, "message": "success"}"#;
        assert_eq!(form(&open_notify(START)), form(real));
        let real = concat!(
            r#"{"name": "iss", "id": 25544, "latitude": -48.947826322504, "longitude": 125.29514904266, "#,
            r#""altitude": 433.83561822897, "velocity": 27538.217323796, "visibility": "daylight", "#,
            r#""footprint": 4577.1935346024, "timestamp": 1714032708, "daynum": 2460425.8415278, "#,
            r#""solar_lat": 13.394772525764, "solar_lon": 56.529414593886, "units": "kilometers"}"#
        );
        let reply = where_the_iss_at(1_714_032_708_000);
        assert_eq!(form(&reply).replace("eclipsed", "daylight"), form(real));
        assert!(reply.contains(r#""timestamp": 1714032708, "daynum": 2460425.8415278, "#), "{reply}");
    }

    #[test]
    fn positions_have_four_decimals() {
        let reply: serde_json::Value = serde_json::from_str(&open_notify(START)).unwrap();
        for axis in ["longitude", "latitude"] {
            let text = reply["iss_position"][axis].as_str().unwrap();
            assert_eq!(text.split_once('.').map(|(_, decimals)| decimals.len()), Some(4), "{text}");
        }
    }

    #[test]
    fn numbers_have_14_significant_digits() {
        assert_eq!(significant(-48.947_826_322_504_1), "-48.947826322504");
        assert_eq!(significant(125.295_149_042_660_1), "125.29514904266");
        assert_eq!(significant(0.5), "0.5");
        assert_eq!(significant(0.012_345_678_901_234_4), "0.012345678901234");
        assert_eq!(significant(0.0), "0");
    }
}
