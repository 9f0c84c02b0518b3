//! `operator probe URL`: is it there? For images without a shell.

use std::{process::ExitCode, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

const ONE_TRY: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(500);
/// More of an answer than this is not printed.
const MAX_ANSWER: u64 = 1 << 20;

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0:?} is no URL of the form http://HOST:PORT/PATH")]
    Url(String),
    #[error("failed to ask {address}")]
    Ask { address: String, source: std::io::Error },
    #[error("{address} did not answer in time")]
    Silent { address: String },
    #[error("the answer is {status}")]
    Status { status: String },
}

/// Asks until the answer is 200 or `wait` is over; prints what it was told.
pub async fn run(url: &str, wait: Duration) -> ExitCode {
    let end = Instant::now() + wait;
    loop {
        match ask(url).await {
            Ok(body) => {
                println!("{}", body.trim_end());
                return ExitCode::SUCCESS;
            }
            Err(error) if Instant::now() + PAUSE >= end || matches!(error, Error::Url(_)) => {
                let source = std::error::Error::source(&error).map_or_else(String::new, |source| format!(": {source}"));
                eprintln!("{url}: {error}{source}");
                return ExitCode::FAILURE;
            }
            Err(_later) => sleep(PAUSE).await,
        }
    }
}

async fn ask(url: &str) -> Result<String, Error> {
    let wrong = || Error::Url(url.to_owned());
    let rest = url.strip_prefix("http://").ok_or_else(wrong)?;
    let (address, path) = rest.split_once('/').unwrap_or((rest, ""));
    if address.is_empty() || !address.contains(':') {
        return Err(wrong());
    }
    let failed = |source| Error::Ask { address: address.to_owned(), source };
    let talk = async {
        let mut stream = TcpStream::connect(address).await.map_err(failed)?;
        let request = format!("GET /{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.map_err(failed)?;
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER).read_to_end(&mut answer).await.map_err(failed)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = timeout(ONE_TRY, talk).await.map_err(|_| Error::Silent { address: address.to_owned() })??;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) == Some("200") {
        Ok(body.to_owned())
    } else {
        Err(Error::Status { status: status.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn server(answer: &'static str) -> (String, impl Future<Output = ()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serve = async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        };
        (format!("http://{address}/readyz"), serve)
    }

    #[tokio::test]
    async fn what_answers_with_200_is_there() {
        let (url, serve) = server("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n").await;
        let (answer, ()) = tokio::join!(ask(&url), serve);
        assert_eq!(answer.unwrap(), "ok\n");
    }

    #[tokio::test]
    async fn what_answers_otherwise_is_not() {
        let (url, serve) = server("HTTP/1.1 503 Service Unavailable\r\n\r\nwaiting\n").await;
        let (answer, ()) = tokio::join!(ask(&url), serve);
        assert!(answer.unwrap_err().to_string().contains("503"));
    }

    #[tokio::test]
    async fn what_is_no_url_is_named() {
        for url in ["https://a:1/", "http://a/", "nonsense"] {
            assert!(matches!(ask(url).await, Err(Error::Url(_))), "{url}");
        }
    }
}
