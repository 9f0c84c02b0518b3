//! Redis's protocol as a client sees it, written anew so that a mistake in ours cannot hide behind itself.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// For one reply; only a server that forgot us takes longer.
const REPLY_DEADLINE: Duration = Duration::from_secs(30);

/// One reply of RESP2 or RESP3. Lines are kept as they came, aggregates with their sign.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reply {
    /// `+`, `-`, `:`, `_`, `#`, `,` or `(` with the rest of its line.
    Line(u8, Vec<u8>),
    /// `$`, `=` or `!`; nothing is `$-1`.
    Blob(u8, Option<Vec<u8>>),
    /// `*`, `%`, `~` or `>`; nothing is `*-1`. A map has its keys and values in turn.
    Many(u8, Option<Vec<Reply>>),
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", char::from(self.kind()))?;
        match self {
            Self::Line(_, line) => write!(f, "{}", line.escape_ascii()),
            Self::Blob(_, Some(blob)) => write!(f, "\"{}\"", blob.escape_ascii()),
            Self::Many(_, Some(items)) => {
                let items: Vec<String> = items.iter().map(Self::to_string).collect();
                write!(f, "[{}]", items.join(", "))
            }
            Self::Blob(_, None) | Self::Many(_, None) => write!(f, "-1"),
        }
    }
}

impl Reply {
    pub(crate) fn is_error(&self) -> bool {
        matches!(self, Self::Line(b'-', _) | Self::Blob(b'!', _))
    }

    pub(crate) fn text(&self) -> String {
        match self {
            Self::Line(_, line) => String::from_utf8_lossy(line).into_owned(),
            Self::Blob(_, blob) => String::from_utf8_lossy(blob.as_deref().unwrap_or_default()).into_owned(),
            Self::Many(_, many) => {
                format!("[{}]", many.iter().flatten().map(Self::text).collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// Its sign.
    pub(crate) fn kind(&self) -> u8 {
        match self {
            Self::Line(sign, _) | Self::Blob(sign, _) | Self::Many(sign, _) => *sign,
        }
    }

    pub(crate) fn items(&self) -> &[Reply] {
        match self {
            Self::Many(_, Some(items)) => items,
            _ => &[],
        }
    }

    /// The first reply in `bytes` with its length; `None` while it is not there whole.
    ///
    /// # Panics
    /// If it is none.
    pub(crate) fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let end = bytes.windows(2).position(|two| two == b"\r\n")?;
        let (sign, line, after) = (bytes[0], &bytes[1..end], end + 2);
        let number = || -> i64 { std::str::from_utf8(line).unwrap().parse().expect("a length") };
        match sign {
            b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => Some((Self::Line(sign, line.to_vec()), after)),
            b'$' | b'=' | b'!' => {
                let Ok(length) = usize::try_from(number()) else { return Some((Self::Blob(sign, None), after)) };
                let blob = bytes.get(after..after + length)?;
                let end = bytes.get(after + length..after + length + 2)?;
                assert_eq!(end, b"\r\n", "a blob is longer than it says");
                Some((Self::Blob(sign, Some(blob.to_vec())), after + length + 2))
            }
            b'*' | b'%' | b'~' | b'>' | b'|' => {
                let Ok(count) = usize::try_from(number()) else { return Some((Self::Many(sign, None), after)) };
                let mut items = Vec::new();
                let mut at = after;
                for _ in 0..count * if matches!(sign, b'%' | b'|') { 2 } else { 1 } {
                    let (item, length) = Self::parse(&bytes[at..])?;
                    items.push(item);
                    at += length;
                }
                Some((Self::Many(sign, Some(items)), at))
            }
            other => panic!("a reply begins with {:?}", char::from(other)),
        }
    }
}

/// `parts` as a client sends them.
pub(crate) fn request<P: AsRef<[u8]>>(parts: &[P]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", parts.len()).into_bytes();
    for part in parts.iter().map(AsRef::as_ref) {
        bytes.extend(format!("${}\r\n", part.len()).into_bytes());
        bytes.extend(part);
        bytes.extend(b"\r\n");
    }
    bytes
}

/// One connection.
pub(crate) struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(port: u16) -> io::Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let stream = TcpStream::connect_timeout(&address, REPLY_DEADLINE)?;
        stream.set_read_timeout(Some(REPLY_DEADLINE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, received: Vec::new() })
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    pub(crate) fn reply(&mut self) -> io::Result<Reply> {
        loop {
            if let Some((reply, length)) = Reply::parse(&self.received) {
                self.received.drain(..length);
                return Ok(reply);
            }
            let mut buffer = [0; 65_536];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.received.extend(&buffer[..count]),
                // A call with a time limit is not resumed by the kernel.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(crate) fn ask<P: AsRef<[u8]>>(&mut self, parts: &[P]) -> io::Result<Reply> {
        self.send(&request(parts))?;
        self.reply()
    }
}
