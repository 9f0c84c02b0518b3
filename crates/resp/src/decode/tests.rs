use proptest::prelude::*;

use super::*;

const OPEN: Limits = Limits { authenticated: true, arguments: 1024 * 1024, bulk: 512 * 1024 * 1024 };
const CLOSED: Limits = Limits { authenticated: false, ..OPEN };

/// Requests, each its arguments.
type Requests = Vec<Vec<Vec<u8>>>;

/// All requests of `input`, and what is left of it.
fn all(input: &[u8]) -> Result<(Requests, usize), Error> {
    let mut decoder = Decoder::default();
    let (mut requests, mut at) = (Vec::new(), 0);
    loop {
        match decoder.decode(&input[at..], &OPEN)? {
            Decoded::Incomplete => return Ok((requests, input.len() - at)),
            Decoded::Nothing { consumed } => at += consumed,
            Decoded::Request { request, consumed } => {
                requests.push(request.iter().map(<[u8]>::to_vec).collect());
                at += consumed;
            }
        }
    }
}

fn refusal(input: &[u8], limits: &Limits) -> Error {
    Decoder::default().decode(input, limits).expect_err("this must be refused")
}

#[test]
fn a_request_is_its_arguments() {
    let (requests, rest) = all(b"*2\r\n$3\r\nGET\r\n$3\r\na\r\n\r\n*1\r\n$4\r\nPING\r\n").unwrap();
    assert_eq!(requests, [vec![b"GET".to_vec(), b"a\r\n".to_vec()], vec![b"PING".to_vec()]]);
    assert_eq!(rest, 0);
}

#[test]
fn lines_and_arrays_may_follow_each_other() {
    let (requests, rest) = all(b"PING\r\n\r\n*1\r\n$4\r\nPING\r\nGET a\n*0\r\n*-1\r\nGET").unwrap();
    let expected: [&[&[u8]]; 3] = [&[b"PING"], &[b"PING"], &[b"GET", b"a"]];
    assert_eq!(requests, expected);
    assert_eq!(rest, 3);
}

#[test]
fn unreadable_requests_are_told_apart_as_redis_does() {
    assert_eq!(refusal(b"*x\r\n", &OPEN), Error::ArrayLength);
    assert_eq!(refusal(b"*10000000\r\n", &OPEN), Error::ArrayLength);
    assert_eq!(refusal(b"*1\r\n+3\r\n", &OPEN), Error::NotABulk(b'+'));
    assert_eq!(refusal(b"*1\r\n\r\n", &OPEN), Error::NotABulk(b'\r'));
    assert_eq!(refusal(b"*1\r\n$-1\r\n", &OPEN), Error::BulkLength);
    assert_eq!(refusal(b"*1\r\n$1073741824\r\n", &OPEN), Error::BulkLength);
    assert_eq!(refusal(&[b'*'; 70_000], &OPEN), Error::ArrayHeaderTooLong);
    assert_eq!(refusal(&[&b"*1\r\n"[..], &[b'$'; 70_000]].concat(), &OPEN), Error::BulkHeaderTooLong);
    assert_eq!(refusal(&[b'a'; 70_000], &OPEN), Error::InlineTooLong);
    assert_eq!(refusal(b"GET \"a\r\n", &OPEN), Error::UnbalancedQuotes);
}

#[test]
fn before_a_password_little_is_accepted() {
    assert_eq!(refusal(b"*11\r\n", &CLOSED), Error::UnauthenticatedArrayLength);
    assert_eq!(refusal(b"*1\r\n$16385\r\n", &CLOSED), Error::UnauthenticatedBulkLength);
    assert!(matches!(Decoder::default().decode(b"*10\r\n$16384\r\n", &CLOSED), Ok(Decoded::Incomplete)));
}

#[test]
fn announcements_reserve_no_memory() {
    let mut decoder = Decoder::default();
    assert!(matches!(decoder.decode(b"*1048576\r\n$536870912\r\n", &OPEN), Ok(Decoded::Incomplete)));
    assert!(decoder.memory() < 1024, "{}", decoder.memory());
}

#[test]
fn what_follows_the_name_can_be_had_alone() {
    let mut decoder = Decoder::default();
    let Ok(Decoded::Request { request, .. }) = decoder.decode(b"CLIENT SETNAME me\r\n", &OPEN) else { panic!() };
    assert_eq!(request.from(1).name(), b"SETNAME");
    assert_eq!(request.from(9).len(), 0);
}

fn requests() -> impl Strategy<Value = Vec<Vec<Vec<u8>>>> {
    let argument = prop::collection::vec(any::<u8>(), 0..40);
    prop::collection::vec(prop::collection::vec(argument, 1..6), 0..8)
}

fn encode(requests: &[Vec<Vec<u8>>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for request in requests {
        bytes.extend_from_slice(format!("*{}\r\n", request.len()).as_bytes());
        for argument in request {
            bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
            bytes.extend_from_slice(argument);
            bytes.extend_from_slice(b"\r\n");
        }
    }
    bytes
}

proptest! {
    #[test]
    fn requests_arrive_unchanged_in_any_pieces(requests in requests(), piece in 1usize..50) {
        let bytes = encode(&requests);
        let (mut decoder, mut got, mut start) = (Decoder::default(), Vec::new(), 0);
        for end in (0..bytes.len()).step_by(piece).chain([bytes.len()]) {
            while let Decoded::Request { request, consumed } = decoder.decode(&bytes[start..end], &OPEN).unwrap() {
                got.push(request.iter().map(<[u8]>::to_vec).collect::<Vec<_>>());
                start += consumed;
            }
        }
        prop_assert_eq!(got, requests);
        prop_assert_eq!(start, bytes.len());
    }

    #[test]
    fn any_bytes_end_in_requests_or_a_refusal(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = all(&bytes);
    }

    #[test]
    fn pieces_change_nothing_about_malformed_bytes(
        bytes in prop::collection::vec(prop::sample::select(b"*$123-\r\n\"' xPG\0".to_vec()), 0..60)
    ) {
        let whole = all(&bytes);
        let (mut decoder, mut got, mut start) = (Decoder::default(), Vec::new(), 0);
        let mut refused = None;
        'pieces: for end in 0..=bytes.len() {
            loop {
                match decoder.decode(&bytes[start..end], &OPEN) {
                    Ok(Decoded::Incomplete) => break,
                    Ok(Decoded::Nothing { consumed }) => start += consumed,
                    Ok(Decoded::Request { request, consumed }) => {
                        got.push(request.iter().map(<[u8]>::to_vec).collect::<Vec<_>>());
                        start += consumed;
                    }
                    Err(error) => {
                        refused = Some(error);
                        break 'pieces;
                    }
                }
            }
        }
        match whole {
            Ok((requests, rest)) => prop_assert_eq!((requests, rest, None), (got, bytes.len() - start, refused)),
            Err(error) => prop_assert_eq!(Some(error), refused),
        }
    }
}
