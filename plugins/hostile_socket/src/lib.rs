//! A plugin that imports sockets, which no plugin may: the host refuses it by the name of the import.
//!
//! A crate of its own, because imports belong to the component and not to a setting.

wit_bindgen::generate!({ path: "../../wit", world: "transformer" });

use apogee::plugin::messages::{Batch, Column, Output};
use exports::apogee::plugin::transform::{Description, Guest, Opened};

/// Connects, if it can.
pub struct Hostile;

impl Guest for Hostile {
    fn describe() -> Description {
        Description {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: env!("CARGO_PKG_DESCRIPTION").to_owned(),
            settings: r#"{"type":"object"}"#.to_owned(),
        }
    }

    fn open(_settings: String) -> Result<Opened, String> {
        Ok(Opened { fields: Vec::new(), key: Vec::new(), groups: Vec::new() })
    }

    /// Puts out, for the whole batch, how a connection went.
    fn process(batch: Batch) -> Output {
        let went = format!("{:?}", std::net::TcpStream::connect("127.0.0.1:9"));
        let none = || Column { bytes: Vec::new(), lengths: vec![-1] };
        let values = Column { lengths: vec![went.len() as i32], bytes: went.into_bytes() };
        let timestamps = batch.timestamps.first().copied().into_iter().collect();
        let messages = Batch { keys: none(), values, timestamps, headers: Vec::new() };
        Output { messages, origins: vec![0], rejected: Vec::new() }
    }
}

// Native linkers do not take the names of a component's exports.
#[cfg(target_family = "wasm")]
export!(Hostile);
