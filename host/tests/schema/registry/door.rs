//! A way to a registry that can be shut.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Hands connections on to a registry while it is open; what is shut breaks off.
pub struct Door {
    url: String,
    /// `None` while it is shut.
    through: Arc<Mutex<Option<Vec<TcpStream>>>>,
}

impl Door {
    pub fn to(registry: &str) -> Self {
        let url: reqwest::Url = registry.parse().unwrap();
        let to: SocketAddr = url.socket_addrs(|| None).unwrap()[0];
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = format!("http://{}{}", listener.local_addr().unwrap(), url.path());
        let through = Arc::new(Mutex::new(Some(Vec::new())));
        let open = through.clone();
        // Ends with the process.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if let Some(through) = open.lock().unwrap().as_mut() {
                    let server = TcpStream::connect(to).unwrap();
                    through.extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
                    copy(client.try_clone().unwrap(), server.try_clone().unwrap());
                    copy(server, client);
                }
            }
        });
        Self { url: own, through }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn close(&self) {
        for connection in self.through.lock().unwrap().take().unwrap_or_default() {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    pub fn open(&self) {
        *self.through.lock().unwrap() = Some(Vec::new());
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
}
