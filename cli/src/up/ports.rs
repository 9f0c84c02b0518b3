//! Ports looked at before anything starts, so that a taken one is named and not found in a log.

use std::{io::ErrorKind, net::TcpListener, time::Duration};

use anyhow::{Context as _, Result, bail};
use tokio::time::{Instant, sleep};

/// Steps between two places that are tried for a whole cluster.
const STEP: u16 = 10;

/// Fails when one of the ports is taken, naming it and a way out.
///
/// `patience` is for children of an `up` that was killed: they end soon, and hold the ports until then.
pub(super) async fn probe(first: u16, members: u16, others: &[u16], patience: Duration) -> Result<()> {
    if first.checked_add(members).is_none() {
        bail!("port {first} leaves no room for {members} orchestrators; choose a lower one with --port");
    }
    let started = Instant::now();
    loop {
        let Some(taken) = first_taken((first..first + members).chain(others.iter().copied()))? else { return Ok(()) };
        if started.elapsed() >= patience {
            let offsets: Vec<_> = others.iter().map(|port| port.saturating_sub(first)).collect();
            let way_out = match free_base(first, members, &offsets) {
                Some(free) => format!("; choose others with --port, for example --port {free}"),
                None => "; choose others with --port".to_owned(),
            };
            bail!("port {taken} on 127.0.0.1 is taken by another program{way_out}");
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// The first place, at or above `from`, with as many free ports in a row, and free ones so far behind it.
pub fn free_base(from: u16, members: u16, offsets: &[u16]) -> Option<u16> {
    let room = offsets.iter().copied().max().unwrap_or(0).max(members);
    let bases = (from..u16::MAX - room).step_by(STEP.into());
    let ports = |base: u16| (0..members).chain(offsets.iter().copied()).map(move |offset| base + offset);
    bases.take(200).find(|base| matches!(first_taken(ports(*base)), Ok(None)))
}

fn first_taken(ports: impl Iterator<Item = u16>) -> Result<Option<u16>> {
    for port in ports {
        match TcpListener::bind(("127.0.0.1", port)) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::AddrInUse => return Ok(Some(port)),
            Err(error) => return Err(error).with_context(|| format!("port {port} on 127.0.0.1 cannot be used")),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_named_with_a_way_out() {
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = holder.local_addr().unwrap().port();
        let refused = probe(taken, 1, &[], Duration::ZERO).await.unwrap_err().to_string();
        assert!(refused.contains(&format!("port {taken} ")) && refused.contains("--port"), "{refused}");
        drop(holder);
        probe(taken, 1, &[], Duration::ZERO).await.unwrap();
        let other = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let _held = TcpListener::bind(("127.0.0.1", other)).unwrap();
        assert!(probe(taken, 1, &[other], Duration::ZERO).await.unwrap_err().to_string().contains(&other.to_string()));
    }
}
