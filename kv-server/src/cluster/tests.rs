use super::*;

const FIRST: &str = "1111111111111111111111111111111111111111";
const SECOND: &str = "2222222222222222222222222222222222222222";
const THIRD: &str = "3333333333333333333333333333333333333333";

fn node(id: &str, slots: &[(u16, u16)]) -> Node {
    Node { id: id.to_owned(), host: format!("kv-{}", &id[..1]), port: 6379, slots: slots.to_vec(), replica_of: None }
}

fn halves() -> Description {
    let replica = Node { replica_of: Some(FIRST.to_owned()), ..node(THIRD, &[]) };
    Description { epoch: 7, nodes: vec![node(FIRST, &[(0, 8191)]), node(SECOND, &[(8192, 16382)]), replica] }
}

fn seen_from(id: &str) -> Topology {
    Topology::check(halves(), id).unwrap()
}

// Slots: foo 12182, bar 5061; 16383 belongs to nobody.

#[test]
fn a_key_of_another_node_is_answered_with_its_name() {
    let first = seen_from(FIRST);
    assert_eq!(first.refusal([&b"bar"[..]].into_iter(), false), None);
    assert_eq!(first.refusal([&b"foo"[..]].into_iter(), false).unwrap(), "MOVED 12182 kv-2:6379");
}

#[test]
fn keys_of_several_slots_are_refused_even_on_one_node() {
    let refusal = seen_from(FIRST).refusal([&b"bar"[..], b"foo"].into_iter(), false);
    assert!(refusal.unwrap().starts_with("CROSSSLOT"));
    assert_eq!(seen_from(FIRST).refusal([&b"{bar}1"[..], b"{bar}2"].into_iter(), false), None);
}

#[test]
fn a_replica_answers_only_who_said_readonly() {
    let replica = seen_from(THIRD);
    assert_eq!(replica.refusal([&b"bar"[..]].into_iter(), false).unwrap(), "MOVED 5061 kv-1:6379");
    assert_eq!(replica.refusal([&b"bar"[..]].into_iter(), true), None);
    assert!(replica.is_replica());
}

#[test]
fn a_slot_without_a_node_is_down() {
    let orphan = (0u32..).map(|number| number.to_string()).find(|key| hash_slot(key.as_bytes()) == 16383).unwrap();
    let refusal = seen_from(FIRST).refusal([orphan.as_bytes()].into_iter(), false);
    assert_eq!(refusal.unwrap(), "CLUSTERDOWN Hash slot not served");
}

#[test]
fn only_newer_topologies_are_taken() {
    let cluster = Cluster::new(Some(FIRST.to_owned()), None);
    let json = |epoch| serde_json::to_vec(&Description { epoch, ..halves() }).unwrap();
    assert_eq!(cluster.apply(&json(7)).unwrap(), 7);
    assert_eq!(cluster.apply(&json(7)).unwrap(), 7);
    assert!(matches!(cluster.apply(&json(6)), Err(Error::NotNewer { offered: 6, current: 7 })));
    let mut other = Description { epoch: 7, ..halves() };
    other.nodes[0].port = 7000;
    assert!(matches!(cluster.apply(&serde_json::to_vec(&other).unwrap()), Err(Error::NotNewer { .. })));
    assert_eq!(cluster.apply(&json(8)).unwrap(), 8);
    assert_eq!(cluster.generation(), 2);
}

#[test]
fn what_makes_no_sense_is_refused_with_its_reason() {
    let refused = |change: fn(&mut Description)| {
        let mut description = halves();
        change(&mut description);
        Topology::check(description, FIRST).unwrap_err().to_string()
    };
    assert!(refused(|it| it.nodes[1].slots[0].0 = 8191).contains("slot 8191 belongs to both"));
    assert!(refused(|it| it.nodes[1].slots[0].1 = 16384).contains("is none"));
    assert!(refused(|it| it.nodes[1].host = "a b".to_owned()).contains("host"));
    assert!(refused(|it| it.nodes[1].port = 0).contains("port"));
    assert!(refused(|it| it.nodes[1].id = FIRST.to_owned()).contains("two nodes"));
    assert!(refused(|it| it.nodes[2].replica_of = Some(THIRD.to_owned())).contains("stands in"));
    assert!(refused(|it| it.nodes.remove(0).port = 1).contains("not there"));
    let nobody = Cluster::new(None, None);
    assert!(matches!(nobody.apply(&serde_json::to_vec(&halves()).unwrap()), Err(Error::NoIdentity)));
    assert!(matches!(nobody.apply(b"{}"), Err(Error::Json(_))));
}
