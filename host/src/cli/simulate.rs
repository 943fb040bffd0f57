//! `host simulate`: a feed for machines without internet, until it is stopped.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};

use crate::config::values::Period;
use crate::simulate::{Server, paths};
use crate::stop::{OnSignal, Stop};
use crate::uri::{self, Flights, Iss, Shape, Turnstiles};

const ISS: &str = "\
Examples:
  host simulate iss
  host simulate iss --port 0 --step 1s
      A free port, and each reply one second after the one before, however fast they come";

const TURNSTILES: &str = "\
Examples:
  host simulate turnstiles
  host simulate turnstiles --step 10s --seed 7 --duplicates 0.05 --late 0.02
      The same replies each time, ten seconds apart; one in twenty repeats another, one in fifty is long past";

const FLIGHTS: &str = "\
Examples:
  host simulate flights
      A row a reply; the whole file is at /routes.dat, and its first thousand rows at /routes.dat?rows=1000";

/// How often to look whether to stop.
const WAIT: Duration = Duration::from_millis(50);

#[derive(Debug, Subcommand)]
pub(super) enum Simulate {
    /// The position of the ISS on its real orbit, as Open Notify and as wheretheiss.at serve it
    #[command(after_help = ISS)]
    Iss {
        #[command(flatten)]
        at: At,
        /// Whose replies are counted for --step, and whose URL is shown first: open-notify or wheretheiss
        #[arg(long, value_name = "SHAPE", default_value = "open-notify")]
        shape: Shape,
        /// Simulated time from one reply to the next [default: as the clock goes]
        #[arg(long, value_name = "DURATION")]
        step: Option<Period>,
    },
    /// Counts of subway turnstiles, a row of CSV a reply
    #[command(after_help = TURNSTILES)]
    Turnstiles {
        #[command(flatten)]
        at: At,
        /// Simulated time from one reply to the next [default: as the clock goes]
        #[arg(long, value_name = "DURATION")]
        step: Option<Period>,
        /// The same number gives the same replies
        #[arg(long, value_name = "NUMBER", default_value_t = 0)]
        seed: u64,
        /// The share of replies, from 0 to 1, that repeat an earlier one
        #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = uri::share)]
        duplicates: f64,
        /// The share of replies, from 0 to 1, whose time has long passed
        #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = uri::share)]
        late: f64,
    },
    /// Airline routes of the shape of OpenFlights, a row a reply or a whole file
    #[command(after_help = FLIGHTS)]
    Flights {
        #[command(flatten)]
        at: At,
        /// The same number gives the same rows
        #[arg(long, value_name = "NUMBER", default_value_t = 0)]
        seed: u64,
    },
}

#[derive(Debug, Args)]
pub(super) struct At {
    /// The port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 8080)]
    port: u16,
}

impl Simulate {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let milliseconds = |step: Option<Period>| step.map(|it| u64::try_from(it.0.as_millis()).unwrap_or(u64::MAX));
        let (At { port }, simulate) = match self {
            Self::Iss { at, shape, step } => (at, uri::Simulate::Iss(Iss { shape, step: milliseconds(step) })),
            Self::Turnstiles { at, step, seed, duplicates, late } => {
                let step = milliseconds(step);
                (at, uri::Simulate::Turnstiles(Turnstiles { step, seed, duplicates, late }))
            }
            Self::Flights { at, seed } => (at, uri::Simulate::Flights(Flights { seed })),
        };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let stop = Stop::default();
        let _on_signal = OnSignal::request(vec![stop.clone()])?;
        let server = Server::start(&simulate, address)
            .with_context(|| format!("cannot serve on {address}; another port may do: --port 0 takes a free one"))?;
        for path in paths(&simulate) {
            writeln!(io::stdout(), "{}", server.url(path))?;
        }
        while !stop.requested() {
            std::thread::sleep(WAIT);
        }
        Ok(())
    }
}
