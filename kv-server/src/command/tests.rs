use resp::{Decoded, Decoder, Limits};

use super::*;

fn with_request<T>(line: &str, look: impl FnOnce(Request<'_>) -> T) -> T {
    let mut decoder = Decoder::default();
    let limits = Limits { authenticated: true, arguments: 1024, bulk: 1024 };
    match decoder.decode(format!("{line}\n").as_bytes(), &limits) {
        Ok(Decoded::Request { request, .. }) => look(request),
        other => panic!("{line}: {other:?}"),
    }
}

fn refusal(line: &str) -> String {
    with_request(line, |request| String::from_utf8(lookup(request).err().unwrap()).unwrap())
}

#[test]
fn names_are_found_in_any_case_and_once_each() {
    for command in all() {
        let found = by_name(command.name.to_uppercase().as_bytes()).unwrap();
        assert!(std::ptr::eq(found, command), "{}", command.name);
        for subcommand in command.subcommands {
            assert_eq!(subcommand.name.split_once('|').unwrap().0, command.name);
            let found = command.subcommand(subcommand.short_name().to_uppercase().as_bytes()).unwrap();
            assert!(std::ptr::eq(found, subcommand), "{}", subcommand.name);
        }
    }
}

#[test]
fn every_command_has_a_number_of_its_own() {
    for (number, command) in flattened().enumerate() {
        let line = command.name.replace('|', " ") + " x";
        with_request(&line, |request| {
            let (found, its_number) = lookup(request).unwrap_or((command, number)); // a container alone leads nowhere
            assert_eq!((found.name, its_number), (command.name, number));
        });
        assert_eq!(names()[number], command.name);
    }
}

#[test]
fn what_writes_is_refused() {
    for command in flattened().filter(|command| command.flags.split(' ').any(|flag| flag == "write")) {
        assert!(matches!(command.run, Run::Refuse), "{}", command.name);
    }
    assert!(flattened().filter(|command| matches!(command.run, Run::Refuse)).count() > 110);
}

#[test]
fn unknown_names_are_told_as_redis_tells_them() {
    assert_eq!(refusal("foo"), "ERR unknown command 'foo', with args beginning with: ");
    assert_eq!(refusal("foo a b"), "ERR unknown command 'foo', with args beginning with: 'a' 'b' ");
    let long = "x".repeat(200);
    let told = refusal(&format!("{long} {long} more"));
    assert_eq!(told, format!("ERR unknown command '{0}', with args beginning with: '{0}' ", "x".repeat(128)));
    assert_eq!(refusal("client foo"), "ERR unknown subcommand 'foo'. Try CLIENT HELP.");
}

#[test]
fn keys_are_found_where_the_table_says() {
    let keys = |line: &str| {
        with_request(line, |request| {
            let (command, _) = lookup(request).ok().unwrap();
            command.keys.of(request).map(|key| String::from_utf8(key.to_vec()).unwrap()).collect::<Vec<_>>()
        })
    };
    assert_eq!(keys("get a"), ["a"]);
    assert_eq!(keys("mget a b c"), ["a", "b", "c"]);
    assert_eq!(keys("mset a 1 b 2"), ["a", "b"]);
    assert_eq!(keys("memory usage a samples 5"), ["a"]);
    assert_eq!(keys("ping"), [""; 0]);
}
