//! `dragnet dataset`, which needs no cluster.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::cluster::{beside, dragnet, stderr, stdout, wait_for};

struct World {
    folder: TempDir,
    url: String,
}

impl World {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let url = format!("file://{}/facts", folder.path().display());
        Self { folder, url }
    }

    fn build(&self, rows: &str, more: &[&str]) -> Output {
        let source = self.write("rows.csv", rows);
        let arguments = ["dataset", "build", "--from", &source, "--key", "key", "--value", "value", "--to", &self.url];
        dragnet(&[&arguments[..], more].concat()).output().unwrap()
    }

    fn run(&self, command: &str, more: &[&str]) -> Output {
        dragnet(&[&["dataset", command, &self.url], more].concat()).output().unwrap()
    }

    /// The objects that a command prints.
    fn json(&self, command: &str, more: &[&str]) -> Vec<Value> {
        objects(&self.run(command, &[more, &["--json"]].concat()))
    }

    /// Writes a file beside the dataset. Returns its path.
    fn write(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Flips the first bit of the records of a version of one shard. Returns the file.
    fn damage(&self, version: &str) -> PathBuf {
        let shard = self.folder.path().join(format!("facts/versions/{version}/shard-0000"));
        let files = fs::read_dir(&shard).unwrap().map(|entry| entry.unwrap().path());
        let file = files.into_iter().find(|path| path.extension().is_some_and(|ending| ending == "sst")).unwrap();
        let mut bytes = fs::read(&file).unwrap();
        bytes[0] ^= 1;
        fs::write(&file, bytes).unwrap();
        file
    }
}

/// A key-value server of a world's dataset, which wants a password. Killed when dropped.
struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start(world: &World, password_file: &str) -> Self {
        let folder = world.folder.path();
        let (ports, log) = (folder.join("ports"), folder.join("server.log"));
        let out = File::create(&log).unwrap();
        let mut command = Command::new(beside("kv-server"));
        command.args(["--dataset", &world.url, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        command.args(["--poll", "50ms", "--retry-failed", "1h", "--disk-reserve", "1", "--threads", "1"]);
        command.args(["--password-file", password_file]).arg("--data-dir").arg(folder.join("data"));
        command.arg("--port-file").arg(&ports);
        command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
        let mut server = Self { process: command.spawn().unwrap(), address: String::new() };
        wait_for("the server holds its ports", || {
            if let Some(status) = server.process.try_wait().unwrap() {
                panic!("it ended ({status}): {}", fs::read_to_string(&log).unwrap());
            }
            ports.is_file()
        });
        let ports = fs::read_to_string(ports).unwrap();
        server.address = ports.lines().find_map(|line| line.strip_prefix("kv ")).unwrap().to_owned();
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn objects(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", stderr(output));
    stdout(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_dataset_is_built_shown_looked_up_verified_pinned_and_rolled_back() {
    let world = World::new();
    let first = &objects(&world.build("key,value\na,1\nb,2\n", &["--shards", "2", "--json"]))[0];
    assert_eq!((&first["keys"], &first["shards"], &first["announced"]), (&2.into(), &2.into(), &true.into()));
    let second = world.build("key,value\na,one\n", &[]);
    assert!(second.status.success() && stdout(&second).contains("it is announced"), "{}", stderr(&second));

    let versions = world.json("list", &[]);
    assert_eq!(versions[1]["version"], first["version"], "newest first");
    let (old, new) = (first["version"].as_str().unwrap(), versions[0]["version"].as_str().unwrap());
    assert_eq!((&versions[0]["target"], &versions[1]["state"]), (&true.into(), &"previous".into()));
    assert!(stdout(&world.run("list", &[])).contains("VERSION"));

    assert_eq!(stdout(&world.run("get", &["a"])), "one\n");
    assert_eq!(stdout(&world.run("get", &["b", "--version", old])), "2\n");
    assert_eq!(world.json("get", &["a"])[0]["value"], "one");
    let missing = world.run("get", &["none"]);
    assert!(!missing.status.success() && stderr(&missing).contains("has no key \"none\""), "{}", stderr(&missing));

    assert!(stdout(&world.run("verify", &[])).contains("is whole: 1 key,"));
    assert_eq!(world.json("verify", &["--version", old])[0]["keys"], 2);
    assert!(stdout(&world.run("show", &[])).contains(&format!("version      {new} (announced)")));
    assert_eq!(world.json("show", &["--version", old])[0]["manifest"]["version"], old);

    assert_eq!(world.json("pin", &[old])[0]["bad"], Value::Null);
    assert_eq!(stdout(&world.run("get", &["a"])), "1\n", "what is pinned is what is served");
    let refused = world.run("rollback", &[]);
    assert!(!refused.status.success() && stderr(&refused).contains("is pinned"), "{}", stderr(&refused));
    assert_eq!(world.json("unpin", &[])[0]["target"], new);
    assert_eq!(world.json("rollback", &["--reason", "wrong"])[0]["announced"], old);
    assert!(stdout(&world.run("list", &[])).contains("bad: wrong"));
    let refused = world.run("announce", &[new]);
    assert!(stderr(&refused).contains("marked bad (wrong); pin it"), "{}", stderr(&refused));
    assert!(stdout(&world.run("pin", &[new])).contains("it is marked bad, mind you: wrong"));
}

#[test]
fn a_row_that_cannot_be_used_is_named_and_nothing_is_built() {
    let world = World::new();
    let output = world.build("key,value\na,1\na,2\n", &[]);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(
        text.contains("key a stands in") && text.contains("row 1, and again in") && text.contains("row 2"),
        "{text}"
    );
    assert!(stdout(&world.run("list", &[])).contains("no versions"));
    assert_eq!(
        objects(&world.build("key,value\na,1\na,2\n", &["--on-duplicate", "last", "--json"]))[0]["duplicate_rows"],
        1
    );
}

#[test]
fn damage_is_told_by_file_and_offset() {
    let world = World::new();
    let version = objects(&world.build("key,value\na,1\n", &["--json"]))[0]["version"].as_str().unwrap().to_owned();
    let file = world.damage(&version);
    let output = world.run("verify", &[]);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(
        text.contains("is damaged") && text.contains(file.to_str().unwrap()) && text.contains("offset 0"),
        "{text}"
    );
}

#[test]
fn a_server_that_does_not_answer_hides_nothing() {
    let world = World::new();
    world.build("key,value\na,1\n", &[]);
    // A port that nothing listens on: it was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let output = world.run("show", &["--server", &format!("127.0.0.1:{port}")]);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("announced    000001-") && text.contains("failed to ask 127.0.0.1"), "{text}");
}

#[test]
fn a_server_that_was_told_its_password_says_which_file_of_the_next_version_is_damaged() {
    let world = World::new();
    world.build("key,value\na,1\n", &[]);
    let password = world.write("password", "open sesame\n");
    let server = Server::start(&world, &password);
    let logged_in = ["--server", &server.address, "--password-file", &password];
    let state = || world.json("show", &logged_in)[0]["server"]["datasets"][0].clone();
    wait_for("the first version is served", || state()["serving"].is_string());

    let second = &objects(&world.build("key,value\na,2\n", &["--no-announce", "--json"]))[0];
    let second = second["version"].as_str().unwrap();
    let damaged = world.damage(second);
    assert!(world.run("announce", &[second]).status.success());
    wait_for("the second version failed", || state()["last_error"].is_object());

    let file = damaged.strip_prefix(world.folder.path().join("facts")).unwrap().to_str().unwrap();
    let error = &state()["last_error"];
    assert_eq!((&error["file"], &error["offset"]), (&file.into(), &0.into()), "{error}");
    let shown = stdout(&world.run("show", &logged_in));
    let line = shown.lines().find(|line| line.contains("last_error")).unwrap_or_else(|| panic!("{shown}"));
    let about = format!("verification failed, version {second}, file {file}, offset 0: ");
    assert!(line.contains(&about) && !line.contains('{'), "{line}");

    // Without the password the server says nothing, and what lies in object storage is shown all the same.
    let silent = stdout(&world.run("show", &["--server", &server.address]));
    assert!(silent.contains("it asks for a password: ") && silent.contains("--password-file"), "{silent}");
    assert!(silent.contains(&format!("announced    {second}")) && !silent.contains("last_error"), "{silent}");
    let wrong = world.write("wrong", "open barley\n");
    let refused = stdout(&world.run("show", &["--server", &server.address, "--password-file", &wrong]));
    assert!(refused.contains(&format!("it refuses the password in {wrong}: ")), "{refused}");
    let missing = world.run("show", &["--server", &server.address, "--password-file", "/nowhere"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(stderr(&missing).contains("failed to read the password in /nowhere"), "{}", stderr(&missing));
}

#[test]
fn wrong_usage_says_what_to_write() {
    let world = World::new();
    let neither = dragnet(&["dataset", "build", "--from", "a.csv", "--key", "k", "--to", &world.url]).output().unwrap();
    assert_eq!(neither.status.code(), Some(2));
    assert!(stderr(&neither).contains("--value-json"), "{}", stderr(&neither));
    let odd = ["dataset", "build", "--from", "a.txt", "--key", "k", "--value-json", "--to", &world.url];
    let odd = dragnet(&odd).output().unwrap();
    assert_eq!(odd.status.code(), Some(64));
    assert!(stderr(&odd).contains("say --format"), "{}", stderr(&odd));
    let path = dragnet(&["dataset", "list", "/srv/x"]).output().unwrap();
    assert!(stderr(&path).contains("file:///srv/x"), "{}", stderr(&path));
}
