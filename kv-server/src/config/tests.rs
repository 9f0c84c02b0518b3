use super::*;

fn config(arguments: &[&str]) -> Result<Config, Error> {
    let arguments = ["kv-server"].iter().chain(arguments);
    Config::from_args(Args::try_parse_from(arguments).expect("these arguments parse"))
}

#[test]
fn a_dataset_is_named_by_its_last_part_and_may_say_more() {
    let config = config(&[
        "--dataset",
        "file:///data/packages",
        "--dataset",
        "s3://facts/a,b/domains,db=3,prefix=d:,name=dom",
        "--rocksdb",
        "/var/lib/old.db",
        "--data-dir",
        "/tmp/x",
    ])
    .unwrap();
    let told: Vec<_> = config.datasets.iter().map(|it| (it.name.as_str(), it.db, it.prefix.as_slice())).collect();
    assert_eq!(told, [("packages", 0, &b""[..]), ("dom", 3, b"d:"), ("old.db", 0, b"")]);
    assert_eq!(config.datasets[1].source, Source::Repository("s3://facts/a,b/domains".parse().unwrap()));
}

#[test]
fn what_cannot_be_served_is_refused_before_anything_starts() {
    assert!(matches!(config(&[]), Err(Error::Nothing)));
    assert!(matches!(config(&["--dataset", "packages"]), Err(Error::Url { .. })));
    assert!(matches!(config(&["--rocksdb", "/x,db=-1"]), Err(Error::Db { .. })));
    assert!(matches!(config(&["--rocksdb", "/x,name=../y"]), Err(Error::Name { .. })));
    assert!(matches!(config(&["--dataset", "file:///x"]), Err(Error::DataDir { .. })));
    assert!(matches!(config(&["--rocksdb", "/x", "--cluster-node", "me"]), Err(Error::NodeId)));
    assert!(matches!(config(&["--rocksdb", "/x", "--announce", "me"]), Err(Error::Announce { .. })));
}

#[test]
fn shards_are_numbers_and_ranges() {
    assert_eq!(shard_list("0,2-3").unwrap(), Wanted::Only([0, 2, 3].into()));
    for text in ["", "a", "3-2", "1,", "-1"] {
        assert!(matches!(shard_list(text), Err(Error::Shards { .. })), "{text:?}");
    }
}

#[test]
fn a_part_of_the_keys_is_counted_on_and_on() {
    let part = |text| shard_list(text).unwrap();
    assert_eq!(part("part:1/2"), Wanted::Slots(SlotRange { first: 8192, last: 16_383 }));
    assert_eq!(part("part:5/2"), part("part:1/2"));
    let upper = part("part:1/2");
    let held: Vec<_> =
        (0..4).filter(|index| upper.contains(u32::from(*index), SlotRange::of_shard(*index, 4))).collect();
    assert_eq!(held, [2, 3], "of a version with four shards");
    assert!(upper.contains(0, SlotRange::ALL), "of a version with one");
    for text in ["part:", "part:0", "part:0/0", "part:a/2", "part:0/70000"] {
        assert!(matches!(shard_list(text), Err(Error::Shards { .. })), "{text:?}");
    }
}

#[test]
fn a_node_is_known_by_its_name() {
    let id = node_id("name:packages-kv-0").unwrap();
    assert_eq!(id, Digest::of(b"packages-kv-0").to_string()[..40]);
    assert_eq!(node_id(&"A".repeat(40)).unwrap(), "a".repeat(40));
    assert!(node_id("name:").is_err());
}

#[test]
fn a_password_is_the_first_line_and_never_printed() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "secret\r\nmore").unwrap();
    let config = config(&["--rocksdb", "/x", "--password-file", file.path().to_str().unwrap()]).unwrap();
    assert!(config.password.as_ref().unwrap().is(b"secret"));
    assert!(!config.password.as_ref().unwrap().is(b"secreT"));
    assert!(!format!("{config:?}").contains("secret"));
}
