//! `dragnet status`: every member asked by itself, so that it works when some of them are down.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use futures::future::join_all;
use protocol::v1;
use serde::Serialize;
use types::Digest;

use super::Context;
use crate::{
    client::status_of,
    render::{Align, Out, Table, count, elapsed, plural},
};

/// What is known of one member, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Row {
    address: String,
    node_id: Option<u64>,
    /// leader, follower, learner, joining, awaiting (a role), down
    role: &'static str,
    reachable: bool,
    error: Option<String>,
    ready: Option<bool>,
    term: Option<u64>,
    last_log_index: Option<u64>,
    committed_index: Option<u64>,
    applied_index: Option<u64>,
    snapshot_index: Option<u64>,
    lag: Option<u64>,
    version: Option<String>,
    state_digest: Option<String>,
}

/// The cluster as its most informed member sees it: the leader, else whoever is furthest.
#[derive(Debug, Serialize)]
struct Summary<'a> {
    cluster_id: &'a str,
    leader_id: Option<u64>,
    leader_address: &'a str,
    /// Followers name a leader for some seconds after it is gone.
    leader_answers: bool,
    term: u64,
    voters: usize,
    reachable_voters: usize,
    storage_url: &'a str,
    owed_segments: u64,
    leased_segments: u64,
    listings: u64,
    sessions: Vec<Session<'a>>,
}

#[derive(Debug, Serialize)]
struct Session<'a> {
    worker: &'a str,
    leases: u32,
    opened_at_ms: u64,
}

type Answers = BTreeMap<String, Result<v1::StatusResponse>>;

pub(super) async fn run(ctx: &mut Context) -> Result<()> {
    let answers = ask_everyone(ctx.cluster.addresses()).await;
    let Some(best) = most_informed(&answers) else {
        for (address, answer) in &answers {
            if let Err(error) = answer {
                eprintln!("{address} does not answer: {}", error.root_cause());
            }
        }
        bail!("no member answers; start a cluster here with `dragnet up`, or name one with --cluster HOST:PORT");
    };
    let rows = rows(&answers, best);
    let summary = summary(best, &rows);
    if ctx.out.is_json() {
        ctx.out.object(&serde_json::json!({ "cluster": &summary }))?;
        rows.iter().try_for_each(|row| ctx.out.object(&serde_json::json!({ "member": row })))?;
    } else {
        show(&summary, &rows, &mut ctx.out)?;
    }
    match (summary.leader_id, summary.leader_answers) {
        (Some(_), true) => Ok(()),
        (Some(_), false) => bail!("the leader does not answer"),
        (None, _) => {
            bail!("the cluster has no leader: {} of {} voters answer", summary.reachable_voters, summary.voters)
        }
    }
}

/// Asks the given addresses, then the members that they name.
async fn ask_everyone(addresses: &[String]) -> Answers {
    let mut answers = Answers::new();
    let mut next: BTreeSet<String> = addresses.iter().cloned().collect();
    while !next.is_empty() {
        let asked = join_all(next.iter().map(|address| status_of(address))).await;
        answers.extend(next.into_iter().zip(asked));
        let members = answers.values().flatten().flat_map(|status| &status.members);
        let unasked = members.map(|member| member.address.clone()).filter(|address| !answers.contains_key(address));
        next = unasked.collect();
    }
    answers
}

/// The leader if it answers; else the one with the newest term and the longest log.
fn most_informed(answers: &Answers) -> Option<&v1::StatusResponse> {
    let leads = |status: &v1::StatusResponse| status.node_id != 0 && status.leader_id == status.node_id;
    answers.values().flatten().max_by_key(|status| (status.term, leads(status), status.applied_index))
}

fn rows(answers: &Answers, best: &v1::StatusResponse) -> Vec<Row> {
    let mut seen = BTreeSet::new();
    let mut rows: Vec<Row> = Vec::new();
    for (address, answer) in answers {
        let member = match answer {
            Ok(status) => best.members.iter().find(|member| member.node_id == status.node_id),
            Err(_) => best.members.iter().find(|member| member.address == *address),
        };
        // One member may be reached under two addresses, as `localhost` and as 127.0.0.1.
        if let Some(member) = member
            && !seen.insert(member.node_id)
        {
            continue;
        }
        let address = member.map_or(address, |member| &member.address).clone();
        rows.push(row(address, answer, member, best));
    }
    rows.sort_by_key(|row| (row.node_id.unwrap_or(u64::MAX), row.address.clone()));
    rows
}

fn row(
    address: String,
    answer: &Result<v1::StatusResponse>,
    member: Option<&v1::Member>,
    best: &v1::StatusResponse,
) -> Row {
    let status = answer.as_ref().ok();
    let role = match (status, member) {
        (None, _) => "down",
        (Some(status), Some(_)) if status.node_id == best.leader_id => "leader",
        (Some(_), Some(member)) if member.voter => "follower",
        (Some(_), Some(_)) => "learner",
        (Some(status), None) if status.role() == v1::MemberRole::Awaiting => "awaiting",
        (Some(_), None) => "joining",
    };
    let digest = status.and_then(|status| Digest::try_from(status.state_digest.as_slice()).ok());
    Row {
        address,
        node_id: member.map(|member| member.node_id).or(status.map(|status| status.node_id)).filter(|id| *id != 0),
        role,
        reachable: status.is_some(),
        error: answer.as_ref().err().map(|error| format!("{:#}", error.root_cause())),
        ready: status.map(|status| status.ready),
        term: status.map(|status| status.term),
        last_log_index: status.map(|status| status.last_log_index),
        committed_index: status.map(|status| status.committed_index),
        applied_index: status.map(|status| status.applied_index),
        snapshot_index: status.map(|status| status.snapshot_index),
        lag: member.and_then(|member| member.lag),
        version: status.map(|status| status.program_version.clone()),
        state_digest: digest.map(|digest| digest.to_string()),
    }
}

fn summary<'a>(best: &'a v1::StatusResponse, rows: &[Row]) -> Summary<'a> {
    let voters: BTreeSet<_> = best.members.iter().filter(|member| member.voter).map(|member| member.node_id).collect();
    let reachable = rows.iter().filter(|row| row.reachable && row.node_id.is_some_and(|id| voters.contains(&id)));
    let session = |session: &'a v1::SessionInfo| Session {
        worker: &session.worker,
        leases: session.leases,
        opened_at_ms: session.opened_at_ms,
    };
    Summary {
        cluster_id: &best.cluster_id,
        leader_id: Some(best.leader_id).filter(|id| *id != 0),
        leader_address: &best.leader_address,
        leader_answers: rows.iter().any(|row| row.reachable && row.role == "leader"),
        term: best.term,
        voters: voters.len(),
        reachable_voters: reachable.count(),
        storage_url: &best.storage_url,
        owed_segments: best.owed_segments,
        leased_segments: best.leased_segments,
        listings: best.listings,
        sessions: best.open_sessions.iter().map(session).collect(),
    }
}

fn show(summary: &Summary<'_>, rows: &[Row], out: &mut Out) -> Result<()> {
    let leader = match (summary.leader_id, summary.leader_answers) {
        (Some(id), true) => format!("node {id} at {}, term {}", summary.leader_address, summary.term),
        (Some(id), false) => {
            format!("none answers (followers still name node {id}); an election takes some seconds")
        }
        (None, _) => "none known; an election is under way or the majority is lost".to_owned(),
    };
    let Summary { voters, reachable_voters, .. } = summary;
    out.line(format!("cluster  {}, {reachable_voters} of {voters} voters answer", summary.cluster_id))?;
    out.line(format!("leader   {leader}"))?;
    out.line(format!("storage  {}", summary.storage_url))?;
    out.line(format!(
        "backlog  {} owed, {} under way, {} under way",
        plural(summary.owed_segments, "segment"),
        count(summary.leased_segments),
        plural(summary.listings, "listing")
    ))?;
    match summary.sessions.as_slice() {
        [] => out.line("workers  none: nothing is scanned until one connects")?,
        sessions => {
            for session in sessions {
                out.line(format!(
                    "worker   {}, {}{}",
                    session.worker,
                    plural(session.leases.into(), "job"),
                    age(session)
                ))?;
            }
        }
    }
    out.line("")?;
    let (left, right) = (Align::Left, Align::Right);
    let mut table = Table::new(&[
        ("node", right),
        ("address", left),
        ("role", left),
        ("term", right),
        ("last", right),
        ("committed", right),
        ("applied", right),
        ("snapshot", right),
        ("lag", right),
        ("version", left),
    ]);
    let number = |number: Option<u64>| number.map_or("-".to_owned(), count);
    for row in rows {
        table.row([
            row.node_id.map_or("-".to_owned(), |id| id.to_string()),
            row.address.clone(),
            if row.ready == Some(false) { format!("{}, not ready", row.role) } else { row.role.to_owned() },
            number(row.term),
            number(row.last_log_index),
            number(row.committed_index),
            number(row.applied_index),
            number(row.snapshot_index),
            number(row.lag),
            row.version.clone().unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    out.line(table)?;
    for row in rows {
        if let Some(error) = &row.error {
            out.line(format!("{} does not answer: {error}", row.address))?;
        }
    }
    if diverged(rows) {
        out.line("WARNING: members differ in their state at the same log index; please report this with their logs")?;
    }
    Ok(())
}

/// Members with one applied index and two digests. Never seen; it would be a bug of the gravest kind.
fn diverged(rows: &[Row]) -> bool {
    let mut by_index: BTreeMap<u64, BTreeSet<&str>> = BTreeMap::new();
    for row in rows {
        if let (Some(index), Some(digest)) = (row.applied_index, &row.state_digest) {
            by_index.entry(index).or_default().insert(digest);
        }
    }
    by_index.values().any(|digests| digests.len() > 1)
}

fn age(session: &Session<'_>) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let opened = std::time::Duration::from_millis(session.opened_at_ms);
    now.checked_sub(opened).map_or(String::new(), |age| format!(", connected for {}", elapsed(age)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(node_id: u64, leader_id: u64, applied_index: u64) -> v1::StatusResponse {
        let member =
            |node_id| v1::Member { node_id, address: format!("h:{node_id}"), voter: true, ..v1::Member::default() };
        let members = (1..=3).map(member).collect();
        v1::StatusResponse { node_id, leader_id, applied_index, term: 4, members, ..v1::StatusResponse::default() }
    }

    fn answers() -> Answers {
        BTreeMap::from([
            ("h:1".to_owned(), Ok(status(1, 2, 90))),
            ("localhost:2".to_owned(), Ok(status(2, 2, 80))),
            ("h:2".to_owned(), Ok(status(2, 2, 80))),
            ("h:3".to_owned(), Err(anyhow::anyhow!("connection refused"))),
        ])
    }

    #[test]
    fn the_leader_is_believed_and_members_appear_once() {
        let answers = answers();
        let best = most_informed(&answers).unwrap();
        assert_eq!(best.node_id, 2);
        let rows = rows(&answers, best);
        let roles: Vec<_> = rows.iter().map(|row| (row.node_id.unwrap(), row.role)).collect();
        assert_eq!(roles, [(1, "follower"), (2, "leader"), (3, "down")]);
        assert_eq!(summary(best, &rows).reachable_voters, 2);
    }

    #[test]
    fn a_leader_that_is_only_named_does_not_count() {
        let mut answers = answers();
        let best = most_informed(&answers).unwrap();
        assert!(summary(best, &rows(&answers, best)).leader_answers);
        answers.retain(|_, answer| answer.as_ref().is_ok_and(|status| status.node_id == 1));
        answers.insert("h:2".to_owned(), Err(anyhow::anyhow!("no answer within 2 s")));
        let best = most_informed(&answers).unwrap();
        let summary = summary(best, &rows(&answers, best));
        assert_eq!((summary.leader_id, summary.leader_answers), (Some(2), false));
    }

    #[test]
    fn two_states_at_one_index_are_noticed() {
        let answers = answers();
        let mut rows = rows(&answers, most_informed(&answers).unwrap());
        for (row, digest) in rows.iter_mut().zip(["a", "b"]) {
            row.applied_index = Some(7);
            row.state_digest = Some(digest.to_owned());
        }
        assert!(diverged(&rows));
    }
}
