//! Compiles the `.proto` files in pure Rust: no `protoc` needed on the machine that builds.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let services = ["worker", "scan", "cluster", "raft"].map(|name| format!("proto/dragnet/v1/{name}.proto"));
    let descriptors = protox::compile(services, ["proto"])?;
    tonic_prost_build::configure()
        .bytes(".dragnet.v1.RaftRequest")
        .bytes(".dragnet.v1.RaftResponse")
        .compile_fds(descriptors)?;
    println!("cargo:rerun-if-changed=proto");
    Ok(())
}
