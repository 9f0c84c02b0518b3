//! A line to a server that can be cut in the middle of an answer.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

pub(crate) struct Line {
    pub(crate) address: SocketAddr,
    /// Bytes of answers that pass before the line is cut; `u64::MAX`: all of them.
    pass: Arc<AtomicU64>,
    pub(crate) connections: Arc<AtomicUsize>,
    _carrying: JoinSet<()>,
}

impl Line {
    pub(crate) async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (pass, connections) = (Arc::new(AtomicU64::new(u64::MAX)), Arc::new(AtomicUsize::new(0)));
        let mut carrying = JoinSet::new();
        let (limit, count) = (Arc::clone(&pass), Arc::clone(&connections));
        carrying.spawn(async move {
            let mut lines = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                let server = TcpStream::connect(&server).await.unwrap();
                lines.spawn(carry(client, server, Arc::clone(&limit)));
            }
        });
        Self { address, pass, connections, _carrying: carrying }
    }

    /// So many bytes of answers, over all connections, and then the line is cut.
    pub(crate) fn cut_after(&self, bytes: u64) {
        self.pass.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn mend(&self) {
        self.cut_after(u64::MAX);
    }
}

async fn carry(client: TcpStream, server: TcpStream, pass: Arc<AtomicU64>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let asking = async {
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
    };
    let answering = async {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
            let left = pass.load(Ordering::Relaxed);
            let passes = read.min(usize::try_from(left).unwrap_or(usize::MAX));
            if left != u64::MAX {
                pass.fetch_sub(passes as u64, Ordering::Relaxed);
            }
            if to_client.write_all(&buffer[..passes]).await.is_err() || passes < read {
                return;
            }
        }
    };
    tokio::select! {
        () = asking => {}
        () = answering => {}
    }
}
