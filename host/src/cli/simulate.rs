//! `host simulate`: a feed for machines without internet, until it is stopped.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context;
use clap::Subcommand;

use crate::config::values::Period;
use crate::simulate::iss::Server;
use crate::stop::{OnSignal, Stop};
use crate::uri::{self, Shape};

const EXAMPLES: &str = "\
Examples:
  host simulate iss
  host simulate iss --port 0 --step 1s
      A free port, and each reply one second after the one before, however fast they come";

/// How often to look whether to stop.
const WAIT: Duration = Duration::from_millis(50);

#[derive(Debug, Subcommand)]
pub(super) enum Simulate {
    /// The position of the ISS on its real orbit, as Open Notify and as wheretheiss.at serve it
    #[command(after_help = EXAMPLES)]
    Iss {
        /// The port on 127.0.0.1; 0 takes a free one
        #[arg(long, default_value_t = 8080)]
        port: u16,
        /// Whose replies are counted for --step, and whose URL is shown first: open-notify or wheretheiss
        #[arg(long, value_name = "SHAPE", default_value = "open-notify")]
        shape: Shape,
        /// Simulated time from one reply to the next [default: as the clock goes]
        #[arg(long, value_name = "DURATION")]
        step: Option<Period>,
    },
}

impl Simulate {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let Self::Iss { port, shape, step } = self;
        let step = step.map(|step| u64::try_from(step.0.as_millis()).unwrap_or(u64::MAX));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let stop = Stop::default();
        let _on_signal = OnSignal::request(vec![stop.clone()])?;
        let server = Server::start(&uri::Simulate { shape, step }, address)
            .with_context(|| format!("cannot serve on {address}; another port may do: --port 0 takes a free one"))?;
        let mut paths = ["iss-now.json", "v1/satellites/25544"];
        if shape == Shape::WhereTheIssAt {
            paths.reverse();
        }
        for path in paths {
            writeln!(io::stdout(), "http://{}/{path}", server.address)?;
        }
        while !stop.requested() {
            std::thread::sleep(WAIT);
        }
        Ok(())
    }
}
