//! The bytes of replies, as a Redis 7 that holds the same data sends them.

use super::world::{Server, request};

#[test]
fn values_are_read() {
    let server = Server::of_a_thousand(&[]);
    let mut client = server.connect();
    client.expect("GET key:00042", "$11\r\nvalue of 42\r\n");
    client.expect("GET nothing", "$-1\r\n");
    client.expect("MGET key:00001 nothing key:00002", "*3\r\n$10\r\nvalue of 1\r\n$-1\r\n$10\r\nvalue of 2\r\n");
    client.expect("MGET nothing", "*1\r\n$-1\r\n");
    client.expect("EXISTS key:00001 key:00001 nothing", ":2\r\n");
    client.expect("TOUCH key:00001", ":1\r\n");
    client.expect("STRLEN key:00042", ":11\r\n");
    client.expect("STRLEN nothing", ":0\r\n");
    client.expect("GETRANGE key:00042 0 4", "$5\r\nvalue\r\n");
    client.expect("SUBSTR key:00042 -2 -1", "$2\r\n42\r\n");
    client.expect("GETRANGE key:00042 a 4", "-ERR value is not an integer or out of range\r\n");
    client.expect("TYPE key:00042", "+string\r\n");
    client.expect("TYPE nothing", "+none\r\n");
    client.expect("TTL key:00042", ":-1\r\n");
    client.expect("PTTL nothing", ":-2\r\n");
    client.expect("PING", "+PONG\r\n"); // what came before it is counted by now
    assert_eq!(server.metric("dragnet_kv_hits_total"), 11.0);
    assert_eq!(server.metric("dragnet_kv_misses_total"), 7.0);
    assert_eq!(server.metric("dragnet_kv_requests_total{command=\"get\"}"), 2.0);
}

#[test]
fn what_writes_is_refused_and_counted_and_changes_nothing() {
    let server = Server::of_a_thousand(&[]);
    let mut client = server.connect();
    for line in
        ["SET key:00042 x", "DEL key:00042", "FLUSHALL", "EVAL x 0", "CONFIG SET save x", "CLUSTER RESET", "SHUTDOWN"]
    {
        client.expect(line, "-READONLY You can't write against a read only replica.\r\n");
    }
    client.expect("SET", "-ERR wrong number of arguments for 'set' command\r\n");
    client.expect("GET key:00042", "$11\r\nvalue of 42\r\n");
    assert_eq!(server.metric("dragnet_kv_refused_mutations_total"), 7.0);

    let server = Server::of_a_thousand(&["--mutation-error", "noperm"]);
    server.connect().expect("SET a b", "-NOPERM this user has no permissions to run the 'set' command\r\n");
}

#[test]
fn a_connection_says_which_protocol_it_speaks() {
    let server = Server::of_a_thousand(&[]);
    let mut client = server.connect();
    let hello = client.ask("HELLO");
    assert!(
        hello
            .starts_with("*14\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.4.2\r\n$5\r\nproto\r\n:2\r\n"),
        "{hello}"
    );
    let hello = client.ask("HELLO 3 SETNAME me");
    assert!(hello.starts_with("%7\r\n") && hello.contains("$5\r\nproto\r\n:3\r\n"), "{hello}");
    client.expect("CLIENT GETNAME", "$2\r\nme\r\n");
    client.expect("GET nothing", "_\r\n");
    client.expect("CONFIG GET save", "%1\r\n$4\r\nsave\r\n$0\r\n\r\n");
    client.expect("HELLO 4", "-NOPROTO unsupported protocol version\r\n");
    client.expect("HELLO x", "-ERR Protocol version is not an integer or out of range\r\n");
    client.expect("HELLO 2 FOO", "-ERR Syntax error in HELLO option 'FOO'\r\n");
    client.expect("RESET", "+RESET\r\n");
    client.expect("GET nothing", "$-1\r\n");
    client.expect("CLIENT GETNAME", "$-1\r\n");
}

#[test]
fn connections_are_told_apart_and_listed() {
    let server = Server::of_a_thousand(&[]);
    let (mut first, mut second) = (server.connect(), server.connect());
    first.expect("CLIENT SETINFO lib-name tests", "+OK\r\n");
    first.expect("CLIENT SETNAME first", "+OK\r\n");
    first.expect(
        "CLIENT SETNAME \"a b\"",
        "-ERR Client names cannot contain spaces, newlines or special characters.\r\n",
    );
    let list = second.ask("CLIENT LIST");
    assert!(list.contains(" name=first "), "{list}");
    assert!(list.contains("lib-name=tests") && list.matches(" addr=127.0.0.1:").count() == 2, "{list}");
    assert_ne!(first.ask("CLIENT ID"), second.ask("CLIENT ID"));
    first.expect("CLIENT KILL 1.2.3.4:5", "-READONLY You can't write against a read only replica.\r\n");
    first.expect("CLIENT FOO", "-ERR unknown subcommand 'FOO'. Try CLIENT HELP.\r\n");
    first.expect("CLIENT SETNAME", "-ERR wrong number of arguments for 'client|setname' command\r\n");
}

#[test]
fn replies_can_be_left_out() {
    let server = Server::of_a_thousand(&[]);
    let mut client = server.connect();
    client.send("CLIENT REPLY SKIP\r\nPING lost\r\nPING kept\r\n");
    assert_eq!(client.reply(), "$4\r\nkept\r\n");
    client.send("CLIENT REPLY OFF\r\nPING lost\r\nGET key:00001\r\nCLIENT REPLY ON\r\nPING\r\n");
    assert_eq!(client.reply(), "+OK\r\n");
    assert_eq!(client.reply(), "+PONG\r\n");
}

#[test]
fn a_transaction_is_a_list_of_requests() {
    let server = Server::of_a_thousand(&[]);
    let mut client = server.connect();
    client.expect("MULTI", "+OK\r\n");
    client.expect("GET key:00001", "+QUEUED\r\n");
    client.expect("MGET nothing", "+QUEUED\r\n");
    client.expect("EXEC", "*2\r\n$10\r\nvalue of 1\r\n*1\r\n$-1\r\n");
    client.expect("EXEC", "-ERR EXEC without MULTI\r\n");
    client.expect("MULTI", "+OK\r\n");
    client.expect("SET a b", "-READONLY You can't write against a read only replica.\r\n");
    client.expect("EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n");
    client.expect("WATCH a", "+OK\r\n");
    client.expect("MULTI", "+OK\r\n");
    client.expect("MULTI", "-ERR MULTI calls can not be nested\r\n");
    client.expect("DISCARD", "+OK\r\n");
}

#[test]
fn what_clients_ask_about_commands_is_answered() {
    let server = Server::of_a_thousand(&[]);
    let mut client = server.connect();
    client.expect(
        "COMMAND INFO get nothing",
        "*2\r\n*10\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n*3\r\n+@read\r\n+@string\r\n+@fast\r\n*0\r\n\
         *1\r\n*6\r\n$5\r\nflags\r\n*2\r\n+RO\r\n+access\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n\
         *2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n\
         $7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n*-1\r\n",
    );
    client.expect("COMMAND GETKEYS mget a b", "*2\r\n$1\r\na\r\n$1\r\nb\r\n");
    client.expect("COMMAND GETKEYS echo x", "-ERR The command has no key arguments\r\n");
    client.expect("COMMAND LIST FILTERBY PATTERN ?etrange", "*2\r\n$8\r\ngetrange\r\n$8\r\nsetrange\r\n");
    let docs = client.ask("COMMAND DOCS get");
    assert!(docs.starts_with("*2\r\n$3\r\nget\r\n*6\r\n$7\r\nsummary\r\n"), "{docs}");
    let whole = client.ask("COMMAND");
    let count = client.ask("COMMAND COUNT");
    assert_eq!(whole.split_once("\r\n").unwrap().0[1..], count.trim()[1..]);
}

#[test]
fn arguments_are_bytes_and_not_text() {
    let server = Server::of_a_thousand(&[]);
    let mut client = server.connect();
    client.send(b"*2\r\n$4\r\nECHO\r\n$4\r\n\r\n\0\n\r\n");
    assert_eq!(client.reply(), "$4\r\n\r\n\0\n\r\n");
    client.send(request(&["PING", "a b"]));
    assert_eq!(client.reply(), "$3\r\na b\r\n");
    client.expect("PING a b", "-ERR wrong number of arguments for 'ping' command\r\n");
}
