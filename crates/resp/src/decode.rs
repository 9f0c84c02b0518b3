//! Requests out of a stream of bytes: arrays of bulk strings, or lines typed by hand.

use crate::{Error, inline, parse_integer};

/// The longest line without its end that is waited for: a header, or a request typed by hand. Redis's figure.
const MAX_LINE: usize = 64 * 1024;

/// What a peer may send that has not authenticated. Redis's figures.
const UNAUTHENTICATED_ARGUMENTS: usize = 10;
const UNAUTHENTICATED_BULK: usize = 16 * 1024;

/// What one request may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Whether the peer may use more than the 10 arguments of 16 KiB each that a password takes.
    pub authenticated: bool,
    /// Arguments of one request, its name included.
    pub arguments: usize,
    /// Bytes of one argument.
    pub bulk: usize,
}

/// Where an argument lies in the request's bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// Reads requests and remembers how far it came in one that is not whole yet, so that a long request that arrives in small pieces
/// is not read again from its start each time.
///
/// Memory: nothing is reserved by announcement. An argument takes 16 bytes once it has arrived.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Arguments that are still missing, once the array's header was read.
    missing: Option<usize>,
    /// Where reading goes on, from the start of the request.
    at: usize,
    /// The length of the argument that starts at `at`, once its header was read.
    bulk: Option<usize>,
    spans: Vec<Span>,
    /// The words of a request that was typed by hand, unquoted.
    words: Vec<u8>,
}

/// What the bytes held.
#[derive(Debug)]
pub enum Decoded<'a> {
    /// The request is not whole. Call again with the same bytes and more behind them.
    Incomplete,
    /// An empty line or array, which gets no reply.
    Nothing { consumed: usize },
    /// One request; the next one starts `consumed` bytes further on.
    Request { request: Request<'a>, consumed: usize },
}

/// The arguments of one request, the command's name first. Never empty.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    bytes: &'a [u8],
    spans: &'a [Span],
}

impl<'a> Request<'a> {
    pub fn name(&self) -> &'a [u8] {
        self.get(0).unwrap_or_default()
    }

    #[expect(clippy::len_without_is_empty, reason = "a request without arguments is Decoded::Nothing")]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        self.spans.get(index).map(|span| &self.bytes[span.start..span.end])
    }

    /// All arguments, the name included.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + Clone + use<'a> {
        let bytes = self.bytes;
        self.spans.iter().map(move |span| &bytes[span.start..span.end])
    }

    /// The arguments from `index` on; none if there are fewer.
    pub fn from(&self, index: usize) -> Request<'a> {
        Request { bytes: self.bytes, spans: self.spans.get(index..).unwrap_or_default() }
    }
}

impl Decoder {
    /// Reads the request that `input` starts with. After an error the stream has no further meaning.
    pub fn decode<'a>(&'a mut self, input: &'a [u8], limits: &Limits) -> Result<Decoded<'a>, Error> {
        if self.missing.is_none() {
            match input.first() {
                None => return Ok(Decoded::Incomplete),
                Some(b'*') => {}
                Some(_typed) => return self.typed(input),
            }
            let Some((header, next)) = line(input, 0, Error::ArrayHeaderTooLong)? else {
                return Ok(Decoded::Incomplete);
            };
            let length = parse_integer(&header[1..]).ok_or(Error::ArrayLength)?;
            let Ok(length) = usize::try_from(length) else { return Ok(Decoded::Nothing { consumed: next }) };
            if length > limits.arguments {
                return Err(Error::ArrayLength);
            }
            if length > UNAUTHENTICATED_ARGUMENTS && !limits.authenticated {
                return Err(Error::UnauthenticatedArrayLength);
            }
            if length == 0 {
                return Ok(Decoded::Nothing { consumed: next });
            }
            self.spans.clear();
            (self.missing, self.at) = (Some(length), next);
        }
        if !self.arguments(input, limits)? {
            return Ok(Decoded::Incomplete);
        }
        self.missing = None;
        let request = Request { bytes: input, spans: &self.spans };
        Ok(Decoded::Request { request, consumed: self.at })
    }

    /// Whether no request is half read.
    pub fn is_between_requests(&self) -> bool {
        self.missing.is_none()
    }

    /// Forgets a request that is not whole, and gives memory back that an unusually long one took.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Bytes of memory held, for whoever bounds it.
    pub fn memory(&self) -> usize {
        self.spans.capacity() * size_of::<Span>() + self.words.capacity()
    }

    /// Whether all arguments have arrived.
    fn arguments(&mut self, input: &[u8], limits: &Limits) -> Result<bool, Error> {
        let mut missing = self.missing.unwrap_or(0);
        while missing > 0 {
            let length = match self.bulk {
                Some(length) => length,
                None => {
                    let Some((header, next)) = line(input, self.at, Error::BulkHeaderTooLong)? else { break };
                    let length = bulk_length(header, limits)?;
                    (self.bulk, self.at) = (Some(length), next);
                    length
                }
            };
            let end = self.at + length;
            if input.len() < end + 2 {
                break;
            }
            self.spans.push(Span { start: self.at, end });
            (self.bulk, self.at) = (None, end + 2); // Redis does not look at the two bytes either
            missing -= 1;
        }
        self.missing = Some(missing);
        Ok(missing == 0)
    }

    fn typed<'a>(&'a mut self, input: &'a [u8]) -> Result<Decoded<'a>, Error> {
        // A zero byte ends Redis's search, so that it waits for ever; to wait with it costs nothing.
        let Some(end) = input.iter().position(|byte| matches!(byte, b'\n' | 0)).filter(|end| input[*end] == b'\n')
        else {
            return if input.len() > MAX_LINE { Err(Error::InlineTooLong) } else { Ok(Decoded::Incomplete) };
        };
        let line = input[..end].strip_suffix(b"\r").unwrap_or(&input[..end]);
        self.spans.clear();
        self.words.clear();
        inline::split(line, &mut self.words, &mut self.spans)?;
        let consumed = end + 1;
        if self.spans.is_empty() {
            return Ok(Decoded::Nothing { consumed });
        }
        Ok(Decoded::Request { request: Request { bytes: &self.words, spans: &self.spans }, consumed })
    }
}

/// The line that starts at `at`, without its end, and where the next begins.
fn line(input: &[u8], at: usize, too_long: Error) -> Result<Option<(&[u8], usize)>, Error> {
    let rest = &input[at..];
    let Some(length) = rest.iter().position(|byte| matches!(byte, b'\r' | 0)).filter(|end| rest[*end] == b'\r') else {
        return if rest.len() > MAX_LINE { Err(too_long) } else { Ok(None) };
    };
    if rest.len() < length + 2 {
        return Ok(None);
    }
    Ok(Some((&rest[..length], at + length + 2)))
}

fn bulk_length(header: &[u8], limits: &Limits) -> Result<usize, Error> {
    let length = match header {
        [b'$', length @ ..] => parse_integer(length),
        [other, ..] => return Err(Error::NotABulk(*other)),
        [] => return Err(Error::NotABulk(b'\r')), // what Redis finds there is the line's end
    };
    let length = length.and_then(|length| usize::try_from(length).ok()).ok_or(Error::BulkLength)?;
    if length > limits.bulk {
        return Err(Error::BulkLength);
    }
    if length > UNAUTHENTICATED_BULK && !limits.authenticated {
        return Err(Error::UnauthenticatedBulkLength);
    }
    Ok(length)
}

#[cfg(test)]
mod tests;
