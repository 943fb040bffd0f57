//! The International Space Station: a real orbit, served as Open Notify and as wheretheiss.at serve it.
//!
//! Both shapes are theirs byte for byte in keys, order, spacing and form of numbers.

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;

use super::Clock;
use super::orbit::{Position, position};
use crate::uri::{Iss, Shape};

/// When simulated time starts: 22 July 2023, in milliseconds since the Unix epoch.
const START: i64 = 1_690_000_000_000;

const OPEN_NOTIFY: &str = "/iss-now.json";
const WHERE_THE_ISS_AT: &str = "/v1/satellites/25544";

/// The paths of both shapes, the one that is asked for first.
pub(super) fn paths(shape: Shape) -> &'static [&'static str] {
    match shape {
        Shape::OpenNotify => &[OPEN_NOTIFY, WHERE_THE_ISS_AT],
        Shape::WhereTheIssAt => &[WHERE_THE_ISS_AT, OPEN_NOTIFY],
    }
}

/// Both shapes; time passes for them together.
pub(super) fn router(options: &Iss) -> Router {
    let clock = Clock::new(START, options.step);
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
