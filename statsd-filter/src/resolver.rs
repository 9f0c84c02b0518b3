//! Looks up the target's name again and again, so that an agent that moved is found without a restart.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tracing::{info, warn};

use crate::config::{Listen, Target};
use crate::metrics::Metrics;
use crate::shared::{Destination, Shared};

/// Between two looks while sending fails: a name server is not to suffer from an agent that is down.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

pub(crate) struct Resolver {
    pub(crate) shared: Arc<Shared>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) listen: Vec<Listen>,
    pub(crate) interval: Duration,
}

impl Resolver {
    /// Runs until the process stops.
    pub(crate) fn run(self) {
        while !self.shared.is_stopping() {
            self.shared.wait_for_doubt(self.interval);
            if self.shared.is_stopping() {
                return;
            }
            self.look();
            self.rest();
        }
    }

    fn look(&self) {
        let current = self.shared.current();
        let (Target::Udp { .. }, was) = (&current.target, current.destination) else { return };
        match resolve(&current.target, was.as_ref(), &self.listen) {
            Ok(found) if Some(&found) != was.as_ref() => {
                info!(target = %current.target, from = ?was, to = ?found, "the target has another address");
                self.metrics.target_changes.fetch_add(1, Ordering::Relaxed);
                self.shared.redirect(&current.target, found);
            }
            Ok(_unchanged) => {}
            Err(error) => {
                warn!(target = %current.target, error, "the target's name leads nowhere, its last address stays")
            }
        }
    }

    fn rest(&self) {
        let shortest = SHORTEST_INTERVAL.min(self.interval);
        self.shared.wait_for_stop(shortest);
    }
}

/// Where `target` leads: to the address it led to before, as long as that is among the answers.
pub(crate) fn resolve(
    target: &Target,
    before: Option<&Destination>,
    listen: &[Listen],
) -> Result<Destination, Box<dyn Error>> {
    match target {
        Target::Unix(path) => Ok(Destination::Unix(path.clone())),
        Target::Udp { host, port } => {
            let addresses = Target::addresses(host, *port)?;
            let is_before = |address: &&SocketAddr| Some(&Destination::Udp(**address)) == before;
            let chosen = addresses.iter().find(is_before).or(addresses.first()).ok_or("no address")?;
            Target::check(*chosen, listen)?;
            Ok(Destination::Udp(*chosen))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::config::Pack;
    use crate::filter::Policy;
    use crate::rules::{Patterns, PrefixList, Rules};
    use crate::shared::Current;

    #[test]
    fn an_address_that_the_name_no_longer_has_is_replaced() {
        let resolver = resolver("localhost", Some(udp([192, 0, 2, 1])));
        resolver.look();
        let Some(Destination::Udp(address)) = resolver.shared.current().destination else { unreachable!("it is UDP") };
        assert!(address.ip().is_loopback());
        assert_eq!((resolver.metrics.target_changes.load(Ordering::Relaxed), resolver.shared.generation()), (1, 1));
    }

    #[test]
    fn an_address_that_the_name_still_has_stays() {
        let resolver = resolver("127.0.0.1", Some(udp([127, 0, 0, 1])));
        resolver.look();
        assert_eq!(resolver.shared.generation(), 0);
    }

    #[test]
    fn the_last_address_stays_while_the_name_leads_nowhere() {
        let resolver = resolver("agent.invalid", Some(udp([192, 0, 2, 1])));
        resolver.look();
        assert_eq!(resolver.shared.current().destination, Some(udp([192, 0, 2, 1])));
    }

    #[test]
    fn a_reload_beats_an_answer_for_the_target_before_it() {
        let resolver = resolver("127.0.0.1", None);
        let old = Target::Udp { host: "before".to_owned(), port: 8125 };
        resolver.shared.redirect(&old, udp([192, 0, 2, 1]));
        assert_eq!(resolver.shared.current().destination, None);
    }

    #[test]
    fn a_name_that_leads_back_to_us_is_no_target() {
        let ours = [Listen::Udp(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8125)))];
        let target = Target::Udp { host: "127.0.0.1".to_owned(), port: 8125 };
        assert!(resolve(&target, None, &ours).is_err());
        assert!(resolve(&Target::Udp { host: "127.0.0.1".to_owned(), port: 8126 }, None, &ours).is_ok());
    }

    fn udp(ip: [u8; 4]) -> Destination {
        Destination::Udp(SocketAddr::from((IpAddr::from(ip), 8125)))
    }

    fn resolver(host: &str, destination: Option<Destination>) -> Resolver {
        let rules = Rules::new(PrefixList::default(), Patterns::default(), None);
        let current = Current {
            policy: Arc::new(Policy { rules, dry_run: false, max_line_bytes: 8192, join_datagrams: true }),
            pack: Pack { max_datagram_bytes: 1432, delay: Duration::ZERO },
            target: Target::Udp { host: host.to_owned(), port: 8125 },
            destination,
        };
        let (shared, metrics) = (Arc::new(Shared::new(current)), Arc::default());
        Resolver { shared, metrics, listen: Vec::new(), interval: Duration::from_secs(30) }
    }
}
