use std::time::Duration;

use crate::{Source, SourceError};

fn parse(text: &str) -> Result<Source, SourceError> {
    text.parse()
}

#[test]
fn the_short_form_is_one_server() {
    let source = parse("packages=redis://kv:6379").unwrap();
    assert_eq!((source.name.as_str(), source.servers.as_slice()), ("packages", &["kv:6379".to_owned()][..]));
    assert_eq!((source.database, source.prefix.as_str(), source.cluster, source.deadline), (0, "", false, None));
}

#[test]
fn everything_can_be_said() {
    let source =
        parse("packages=redis://a:1,[::1]:2/0?prefix=pkg:&cluster=true&deadline_ms=250&user=u&password_file=/p")
            .unwrap();
    assert_eq!(source.servers, ["a:1", "[::1]:2"]);
    assert_eq!((source.prefix.as_str(), source.cluster), ("pkg:", true));
    assert_eq!(source.deadline, Some(Duration::from_millis(250)));
    assert_eq!((source.user.as_deref(), source.password_file.unwrap().to_str()), (Some("u"), Some("/p")));
    assert_eq!(parse("d=redis://a:1/7").unwrap().database, 7);
}

#[test]
fn mistakes_are_named() {
    for text in ["", "packages", "redis://a:1", "packages=http://a:1", "packages=a:1"] {
        assert!(matches!(parse(text), Err(SourceError::Form { .. })), "{text}");
    }
    assert!(matches!(parse("No Name=redis://a:1"), Err(SourceError::Name(_))));
    for text in ["d=redis://", "d=redis://a", "d=redis://a:0", "d=redis://a:1,", "d=redis://:1"] {
        assert!(matches!(parse(text), Err(SourceError::Address { .. })), "{text}");
    }
    assert!(matches!(parse("d=redis://a:1/x"), Err(SourceError::Database { .. })));
    assert!(matches!(parse("d=redis://a:1?speed=9"), Err(SourceError::Option { name }) if name == "speed"));
    assert!(matches!(parse("d=redis://a:1?cluster=maybe"), Err(SourceError::Value { name: "cluster", .. })));
    assert!(matches!(parse("d=redis://a:1?deadline_ms=0"), Err(SourceError::Value { name: "deadline_ms", .. })));
    assert_eq!(parse("d=redis://a:1/1?cluster=true"), Err(SourceError::ClusterDatabase));
    assert_eq!(parse("d=redis://a:1,b:1"), Err(SourceError::SeveralServers));
    assert_eq!(parse("d=redis://:secret@a:1"), Err(SourceError::Password));
}
