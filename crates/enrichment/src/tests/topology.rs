use redis::Value;

use crate::topology::Topology;

fn text(text: &str) -> Value {
    Value::BulkString(text.as_bytes().to_vec())
}

fn entry(first: i64, last: i64, host: Value, port: i64) -> Value {
    let primary = Value::Array(vec![host, Value::Int(port), text("id")]);
    let replica = Value::Array(vec![text("replica"), Value::Int(1), text("id")]);
    Value::Array(vec![Value::Int(first), Value::Int(last), primary, replica])
}

#[test]
fn slots_belong_to_the_first_node_of_their_range() {
    let answer = Value::Array(vec![
        entry(8192, 16383, text("kv-1"), 6379),
        entry(0, 8000, Value::Nil, 7000),
        entry(8100, 8100, text("::1"), 3),
    ]);
    let topology = Topology::parse(&answer, "kv-0.kv:6379").unwrap();
    let owner = |slot| topology.owner(slot).map(AsRef::as_ref);
    assert_eq!((owner(0), owner(8000)), (Some("kv-0.kv:7000"), Some("kv-0.kv:7000")));
    assert_eq!((owner(8001), owner(8191)), (None, None));
    assert_eq!((owner(8100), owner(8192), owner(16383)), (Some("[::1]:3"), Some("kv-1:6379"), Some("kv-1:6379")));
}

#[test]
fn one_server_has_every_slot() {
    let topology = Topology::single("a:1".into());
    assert!([0, 1, 16383].into_iter().all(|slot| topology.owner(slot).is_some()));
}

#[test]
fn nonsense_is_no_topology() {
    for answer in [
        Value::Nil,
        Value::Array(vec![Value::Nil]),
        Value::Array(vec![Value::Array(vec![Value::Int(0), Value::Int(1)])]),
        Value::Array(vec![entry(-1, 5, text("a"), 1)]),
        Value::Array(vec![entry(0, 5, Value::Int(3), 1)]),
    ] {
        assert_eq!(Topology::parse(&answer, "a:1"), None, "{answer:?}");
    }
    assert_eq!(Topology::parse(&Value::Array(Vec::new()), "a:1").unwrap().owner(0), None);
}
