//! A real S3 service: it is at the same address, with its data, after kill -9.

use std::path::Path;

use xtask::minio::Minio;

#[test]
fn a_killed_service_comes_back_at_its_address() {
    let mut minio = Minio::scratch(Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap();
    let address = ("127.0.0.1", minio.port());
    minio.kill();
    assert!(std::net::TcpStream::connect(address).is_err());
    minio.restart().unwrap();
    assert!(std::net::TcpStream::connect(address).is_ok());
}
