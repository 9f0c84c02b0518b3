//! `GET /metrics` and `GET /healthz`, one connection at a time: a scraper comes every few seconds, and a library for more would be
//! larger than the filter.

use std::io::{self, PipeReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracing::debug;

use crate::metrics::Metrics;
use crate::shared::Shared;

/// For one read or write of a scraper that hangs; others wait meanwhile.
const DEADLINE: Duration = Duration::from_secs(2);
/// Request line and headers; what comes behind is not read.
const REQUEST_BYTES: usize = 4096;

pub(crate) struct Http {
    pub(crate) listener: TcpListener,
    pub(crate) shared: Arc<Shared>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) stop: PipeReader,
}

impl Http {
    /// Runs until the process stops.
    pub(crate) fn run(self) -> io::Result<()> {
        self.listener.set_nonblocking(true)?;
        while !self.shared.is_stopping() {
            let mut watched = [
                PollFd::new(self.listener.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.stop.as_fd(), PollFlags::POLLIN),
            ];
            let _interrupted_is_fine = poll(&mut watched, PollTimeout::NONE);
            if let Err(error) = self.listener.accept().and_then(|(stream, _)| self.serve(stream)) {
                debug!(%error, "a request failed");
            }
        }
        Ok(())
    }

    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        let mut buffer = [0; REQUEST_BYTES];
        let request = read_head(&mut stream, &mut buffer)?;
        let (status, body) = match path(request) {
            Some(b"/metrics") => ("200 OK", self.metrics.page(&self.shared.current().policy.rules)),
            Some(b"/healthz") => ("200 OK", "ok\n".to_owned()),
            Some(_) => ("404 Not Found", "there is /metrics and /healthz\n".to_owned()),
            None => ("400 Bad Request", "only GET is understood\n".to_owned()),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())
    }
}

/// Reads up to the empty line, or as much as there is room for.
fn read_head<'a>(stream: &mut impl Read, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
    let mut length = 0;
    while length < buffer.len() && !buffer[..length].windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut buffer[length..])? {
            0 => break,
            read => length += read,
        }
    }
    Ok(&buffer[..length])
}

/// The path of `GET /path?query HTTP/1.1`.
fn path(request: &[u8]) -> Option<&[u8]> {
    let target = request.strip_prefix(b"GET ")?.split(|byte| *byte == b' ').next()?;
    target.split(|byte| *byte == b'?').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_found_without_its_query() {
        assert_eq!(path(b"GET /metrics?x=1 HTTP/1.1\r\n\r\n"), Some(&b"/metrics"[..]));
        assert_eq!(path(b"POST /metrics HTTP/1.1\r\n\r\n"), None);
        assert_eq!(path(b""), None);
    }

    #[test]
    fn a_head_without_end_stops_at_the_bound() {
        let mut endless = io::repeat(b'x');
        assert_eq!(read_head(&mut endless, &mut [0; 100]).unwrap().len(), 100);
    }
}
