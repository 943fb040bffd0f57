//! Row 34: which requests a server on loopback listens to, and which may be another site's or another server's.

use std::net::SocketAddr;

/// The headers of a request to a server that calls itself `station.example` too, and the status of its answer. `OWN` is
/// the server's address and `PORT` its port.
const CASES: &[(&[&str], u16)] = &[
    (&["Host: OWN"], 200),
    (&["Host: localhost:PORT"], 200),
    (&["Host: station.example:PORT"], 200),
    (&["Host: OWN", "Origin: http://OWN", "Sec-Fetch-Site: same-origin"], 200),
    (&["Host: OWN", "Sec-Fetch-Site: none"], 200),
    (&[], 403),
    (&["Host: evil.example"], 403),
    (&["Host: evil.example:PORT"], 403),
    (&["Host: localhost"], 403),
    (&["Host: localhost:1"], 403),
    (&["Host: localhost:PORT.evil.example"], 403),
    (&["Host: me@evil.example:PORT"], 403),
    (&["Host: OWN", "Host: evil.example"], 403),
    (&["Host: OWN", "Host: OWN"], 403),
    (&["Host: OWN", "Origin: http://evil.example"], 403),
    (&["Host: OWN", "Origin: http://evil.example:PORT"], 403),
    (&["Host: OWN", "Origin: null"], 403),
    (&["Host: OWN", "Origin: "], 403),
    (&["Host: OWN", "Origin: http://OWN", "Origin: http://evil.example"], 403),
    (&["Host: OWN", "Origin: http://localhost:1"], 403),
    (&["Host: OWN", "Sec-Fetch-Site: cross-site"], 403),
    (&["Host: OWN", "Sec-Fetch-Site: same-site"], 403),
    (&["Host: OWN", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="], 403),
    (&["Host: OWN", "Upgrade: h2c"], 403),
];

/// The headers and the status of each case, for the server at `address`.
pub fn cases(address: SocketAddr) -> impl Iterator<Item = (Vec<String>, u16)> {
    let own =
        move |header: &&str| header.replace("OWN", &address.to_string()).replace("PORT", &address.port().to_string());
    CASES.iter().map(move |(headers, status)| (headers.iter().map(own).collect(), *status))
}
