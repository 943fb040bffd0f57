//! Where the International Space Station is at a given time: SGP4 from an element set that is built in.
//!
//! A simulation, not an ephemeris: the orbit is the station's own, but it is boosted and dragged about
//! in reality and not here, so the place along the orbit is not where it is today.

use std::sync::LazyLock;

use sgp4::{Constants, Elements, MinutesSinceEpoch};

/// An element set of the station as CelesTrak publishes it (NORAD 25544, 12 July 2020). The drag terms
/// are set to zero: over the years they would bring the station down, which in reality boosts do not allow.
const ELEMENTS: &str = r#"{
    "OBJECT_NAME": "ISS (ZARYA)", "OBJECT_ID": "1998-067A", "EPOCH": "2020-07-12T21:16:01.000416",
    "MEAN_MOTION": 15.49507896, "ECCENTRICITY": 0.0001413, "INCLINATION": 51.6461,
    "RA_OF_ASC_NODE": 221.2784, "ARG_OF_PERICENTER": 89.1723, "MEAN_ANOMALY": 280.4612,
    "EPHEMERIS_TYPE": 0, "CLASSIFICATION_TYPE": "U", "NORAD_CAT_ID": 25544, "ELEMENT_SET_NO": 999,
    "REV_AT_EPOCH": 23600, "BSTAR": 0, "MEAN_MOTION_DOT": 0, "MEAN_MOTION_DDOT": 0
}"#;

/// The WGS-84 ellipsoid (NIMA TR8350.2, table 3.1): equatorial radius in kilometres, and flattening.
const EARTH_RADIUS: f64 = 6378.137;
const FLATTENING: f64 = 1.0 / 298.257_223_563;

/// Seconds from the Unix epoch to J2000 (2000-01-01 12:00), and the Julian date of the Unix epoch.
const J2000: f64 = 946_728_000.0;
const UNIX_EPOCH_DAY: f64 = 2_440_587.5;
const SECONDS_A_DAY: f64 = 86_400.0;

/// The station at one time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Position {
    /// Geodetic (WGS-84), degrees, north positive.
    pub latitude: f64,
    /// Degrees, east positive, from -180 to 180.
    pub longitude: f64,
    /// Kilometres above the ellipsoid.
    pub altitude: f64,
    /// Kilometres an hour, in inertial space.
    pub velocity: f64,
    /// Diameter in kilometres of the circle on the ground from which the station is above the horizon.
    pub footprint: f64,
    /// Whether the sun shines on the station.
    pub daylight: bool,
    /// Where the sun is in the zenith: degrees north, and degrees east from 0 to 360.
    pub solar_latitude: f64,
    pub solar_longitude: f64,
    /// Julian date.
    pub julian_day: f64,
}

struct Orbit {
    constants: Constants,
    /// Of the element set, in seconds since the Unix epoch.
    epoch: f64,
}

static ORBIT: LazyLock<Orbit> = LazyLock::new(|| {
    let elements: Elements = serde_json::from_str(ELEMENTS).expect("the element set above is well-formed");
    let constants = Constants::from_elements(&elements).expect("the element set above is an orbit");
    Orbit { constants, epoch: elements.datetime.and_utc().timestamp_micros() as f64 / 1e6 }
});

/// Where the station is `time` milliseconds after the Unix epoch.
pub fn position(time: i64) -> Position {
    let seconds = time as f64 / 1000.0;
    let minutes = MinutesSinceEpoch((seconds - ORBIT.epoch) / 60.0);
    let state = ORBIT.constants.propagate(minutes).expect("without drag the orbit exists at all times");
    let days = (seconds - J2000) / SECONDS_A_DAY;
    let sidereal = sgp4::iau_epoch_to_sidereal_time(days / 365.25);
    let (latitude, longitude, altitude) = geodetic(rotate(state.position, sidereal));
    let (declination, ascension) = sun(days);
    Position {
        latitude,
        longitude,
        altitude,
        velocity: norm(state.velocity) * 3600.0,
        footprint: 2.0 * EARTH_RADIUS * (EARTH_RADIUS / (EARTH_RADIUS + altitude)).acos(),
        daylight: is_lit(state.position, declination, ascension),
        solar_latitude: declination.to_degrees(),
        solar_longitude: (ascension - sidereal).to_degrees().rem_euclid(360.0),
        julian_day: seconds / SECONDS_A_DAY + UNIX_EPOCH_DAY,
    }
}

fn norm([x, y, z]: [f64; 3]) -> f64 {
    x.hypot(y).hypot(z)
}

/// From the equator and equinox (TEME, in which SGP4 answers) to axes fixed to the turning Earth.
fn rotate([x, y, z]: [f64; 3], sidereal: f64) -> [f64; 3] {
    let (sin, cos) = sidereal.sin_cos();
    [cos * x + sin * y, cos * y - sin * x, z]
}

/// Latitude and longitude in degrees and height in kilometres, of kilometres in Earth-fixed axes.
///
/// B. R. Bowring, "Transformation from spatial to geographical coordinates", Survey Review 23 (1976):
/// one step, exact to micrometres at this height. Not for the poles, which the station never reaches.
fn geodetic([x, y, z]: [f64; 3]) -> (f64, f64, f64) {
    let polar_radius = EARTH_RADIUS * (1.0 - FLATTENING);
    let e2 = FLATTENING * (2.0 - FLATTENING);
    let from_axis = x.hypot(y);
    let (sin, cos) = (z * EARTH_RADIUS).atan2(from_axis * polar_radius).sin_cos();
    let latitude =
        (z + e2 / (1.0 - e2) * polar_radius * sin.powi(3)).atan2(from_axis - e2 * EARTH_RADIUS * cos.powi(3));
    let normal = EARTH_RADIUS / (1.0 - e2 * latitude.sin().powi(2)).sqrt();
    (latitude.to_degrees(), y.atan2(x).to_degrees(), from_axis / latitude.cos() - normal)
}

/// Declination and right ascension of the sun in radians, `days` after J2000.
///
/// The Astronomical Almanac, page C5, "Low precision formulas for the Sun's coordinates": to 0.01
/// degrees from 1950 to 2050.
fn sun(days: f64) -> (f64, f64) {
    let mean_longitude = 280.460 + 0.985_647_4 * days;
    let anomaly = (357.528 + 0.985_600_3 * days).to_radians();
    let longitude = (mean_longitude + 1.915 * anomaly.sin() + 0.020 * (2.0 * anomaly).sin()).to_radians();
    let obliquity = (23.439 - 0.000_000_4 * days).to_radians();
    let declination = (obliquity.sin() * longitude.sin()).asin();
    (declination, (obliquity.cos() * longitude.sin()).atan2(longitude.cos()))
}

/// Whether `position` is outside the shadow of the Earth, taken as a cylinder (D. Vallado,
/// "Fundamentals of Astrodynamics and Applications", section 5.3).
fn is_lit(position: [f64; 3], declination: f64, ascension: f64) -> bool {
    let sun = [declination.cos() * ascension.cos(), declination.cos() * ascension.sin(), declination.sin()];
    let towards: f64 = position.iter().zip(sun).map(|(p, s)| p * s).sum();
    towards > 0.0 || norm(position).powi(2) - towards.powi(2) > EARTH_RADIUS.powi(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 22 July 2023, the start of simulated time.
    const START: i64 = 1_690_000_000_000;
    const MINUTE: i64 = 60_000;

    #[test]
    fn the_orbit_is_the_stations_for_years() {
        for year in 0..10 {
            for minute in 0..200 {
                let p = position(START + year * 525_960 * MINUTE + minute * MINUTE);
                assert!((370.0..460.0).contains(&p.altitude), "{p:?}");
                assert!(p.latitude.abs() <= 51.9 && p.longitude.abs() <= 180.0, "{p:?}");
                assert!((27_400.0..27_700.0).contains(&p.velocity), "{p:?}");
                assert!((4_200.0..4_750.0).contains(&p.footprint), "{p:?}");
            }
        }
    }

    #[test]
    fn it_reaches_its_inclination_both_ways() {
        let latitudes = (0..100).map(|minute| position(START + minute * MINUTE).latitude);
        let (low, high) = latitudes.fold((0.0_f64, 0.0_f64), |(low, high), l| (low.min(l), high.max(l)));
        assert!((-51.9..-51.5).contains(&low) && (51.5..51.9).contains(&high), "{low} {high}");
    }

    #[test]
    fn one_revolution_takes_92_to_93_minutes() {
        let northward = |time| position(time).latitude < 0.0 && position(time + 1000).latitude >= 0.0;
        let crossings: Vec<i64> = (0..12_000).map(|second| START + second * 1000).filter(|&t| northward(t)).collect();
        let [first, second] = crossings[..] else { panic!("two crossings in 200 minutes: {crossings:?}") };
        let minutes = (second - first) as f64 / MINUTE as f64;
        assert!((92.0..93.5).contains(&minutes), "{minutes}");
    }

    #[test]
    fn a_third_of_a_revolution_is_night() {
        let lit = (0..930).filter(|n| position(START + n * 6000).daylight).count();
        assert!((540..720).contains(&lit), "{lit} of 930");
    }

    #[test]
    fn the_sun_is_where_wheretheiss_says() {
        // From a reply of wheretheiss.at.
        let p = position(1_714_032_708_000);
        assert!((p.solar_latitude - 13.394_772_525_764).abs() < 0.02, "{p:?}");
        assert!((p.solar_longitude - 56.529_414_593_886).abs() < 0.02, "{p:?}");
        assert!((p.julian_day - 2_460_425.841_527_8).abs() < 1e-6, "{p:?}");
    }

    #[test]
    fn geodetic_inverts_the_definition_of_the_ellipsoid() {
        // X, Y, Z of a latitude, longitude and height: NIMA TR8350.2, equation 4-14.
        let e2 = FLATTENING * (2.0 - FLATTENING);
        for (latitude, longitude, height) in
            [(0.0, 0.0, 0.0), (51.6, 12.5, 420.0), (-48.9, 125.3, 433.8), (-30.0, -179.0, 400.0)]
        {
            let (sin, cos) = f64::to_radians(latitude).sin_cos();
            let normal = EARTH_RADIUS / (1.0 - e2 * sin * sin).sqrt();
            let (east, north) = f64::to_radians(longitude).sin_cos();
            let xyz =
                [(normal + height) * cos * north, (normal + height) * cos * east, (normal * (1.0 - e2) + height) * sin];
            let (a, b, c) = geodetic(xyz);
            assert!(
                (a - latitude).abs() < 1e-7 && (b - longitude).abs() < 1e-7 && (c - height).abs() < 1e-5,
                "{a} {b} {c}"
            );
        }
    }
}
