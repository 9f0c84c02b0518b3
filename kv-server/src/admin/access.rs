//! Who may ask for what.

use std::{fs, net::SocketAddr, path::Path, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{Method, header},
    middleware::Next,
    response::Response,
};

use super::{Error, answer::Refusal};

const SHORTEST: usize = 16;

/// The secret that callers show as `Authorization: Bearer <token>`. Never printed.
#[derive(Clone)]
pub struct Token(Arc<str>);

impl Token {
    /// Reads a file whose first line is the token.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(|source| Error::ReadToken { path: path.to_owned(), source })?;
        let token = text.lines().next().unwrap_or_default().trim();
        match token.len() < SHORTEST {
            true => Err(Error::ShortToken { path: path.to_owned() }),
            false => Ok(Self(token.into())),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes as long for a wrong guess as for a right one of its length.
    fn is(&self, guess: &[u8]) -> bool {
        let differences = self.0.bytes().zip(guess).fold(0, |all, (a, b)| all | (a ^ b));
        self.0.len() == guess.len() && differences == 0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Token(..)")
    }
}

#[derive(Clone, Debug)]
pub(super) struct Access {
    pub(super) token: Option<Token>,
    pub(super) address: SocketAddr,
}

impl Access {
    fn check(&self, request: &Request) -> Result<(), Refusal> {
        let headers = request.headers();
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        // A page in somebody's browser can send requests to loopback, and browsers say so by this header.
        if !reads && headers.contains_key(header::ORIGIN) {
            return Err(Refusal::forbidden("requests of web pages are refused"));
        }
        // Probes and scrapers of an orchestrator carry no secrets, and what they ask for tells none.
        if reads && matches!(request.uri().path(), "/healthz" | "/readyz" | "/metrics") {
            return Ok(());
        }
        match &self.token {
            Some(token) => {
                let shown = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
                let shown = shown.and_then(|value| value.strip_prefix(b"Bearer "));
                match shown.is_some_and(|shown| token.is(shown)) {
                    true => Ok(()),
                    false => Err(Refusal::unauthorized("show the admin token as 'Authorization: Bearer <token>'")),
                }
            }
            None if reads || self.address.ip().is_loopback() => Ok(()),
            None => Err(Refusal::forbidden("on an address that others reach, changes need --admin-token-file")),
        }
    }
}

pub(super) async fn check(State(access): State<Access>, request: Request, next: Next) -> Result<Response, Refusal> {
    access.check(&request)?;
    Ok(next.run(request).await)
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::StatusCode};

    use super::*;

    fn access(token: Option<&str>, address: &str) -> Access {
        Access { token: token.map(|token| Token(token.into())), address: address.parse().unwrap() }
    }

    fn ask(access: &Access, method: &str, path: &str, headers: &[(&str, &str)]) -> Option<StatusCode> {
        let request = headers
            .iter()
            .fold(Request::builder().method(method).uri(path), |request, (name, value)| request.header(*name, *value));
        access.check(&request.body(Body::empty()).unwrap()).err().map(|refusal| refusal.status())
    }

    #[test]
    fn on_loopback_nobody_needs_a_token_unless_there_is_one() {
        let open = access(None, "127.0.0.1:9121");
        assert_eq!(ask(&open, "POST", "/datasets/a/switch", &[]), None);

        let closed = access(Some("sixteen-characters"), "127.0.0.1:9121");
        for (header, expected) in [
            (None, Some(StatusCode::UNAUTHORIZED)),
            (Some("Bearer sixteen-character"), Some(StatusCode::UNAUTHORIZED)),
            (Some("Bearer sixteen-characters1"), Some(StatusCode::UNAUTHORIZED)),
            (Some("Bearer sixteen-charactexs"), Some(StatusCode::UNAUTHORIZED)),
            (Some("Bearer "), Some(StatusCode::UNAUTHORIZED)),
            (Some("Basic sixteen-characters"), Some(StatusCode::UNAUTHORIZED)),
            (Some("Bearer sixteen-characters"), None),
        ] {
            let headers: Vec<_> = header.map(|value| ("authorization", value)).into_iter().collect();
            assert_eq!(ask(&closed, "GET", "/datasets", &headers), expected, "{header:?}");
        }
        assert_eq!(ask(&closed, "GET", "/readyz", &[]), None);
        assert_eq!(ask(&closed, "GET", "/metrics", &[]), None);
    }

    #[test]
    fn where_others_reach_it_nothing_changes_without_a_token() {
        let open = access(None, "0.0.0.0:9121");
        assert_eq!(ask(&open, "GET", "/metrics", &[]), None);
        assert_eq!(ask(&open, "PUT", "/topology", &[]), Some(StatusCode::FORBIDDEN));
        let closed = access(Some("sixteen-characters"), "0.0.0.0:9121");
        assert_eq!(ask(&closed, "PUT", "/topology", &[("authorization", "Bearer sixteen-characters")]), None);
    }

    #[test]
    fn a_web_page_in_a_browser_changes_nothing() {
        let open = access(None, "127.0.0.1:9121");
        let headers = [("origin", "https://example.com")];
        assert_eq!(ask(&open, "POST", "/datasets/a/rollback", &headers), Some(StatusCode::FORBIDDEN));
    }

    #[test]
    fn a_token_is_never_printed() {
        assert_eq!(format!("{:?}", Token("sixteen-characters".into())), "Token(..)");
    }
}
