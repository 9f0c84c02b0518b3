//! The operator as a process, against an API server of one's own.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use testcluster::{ApiServer, Deadline, Kubectl, Place, eventually};

/// For whatever takes a moment; generous, since machines that run tests are busy.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// Where the chart installs the operator.
pub(crate) const OWN: &str = "dragnet-system";

/// One replica of the operator, as the ServiceAccount, with the rights and the variables that the chart gives it; killed when
/// dropped.
pub(crate) struct Operator {
    process: Child,
    http: u16,
    log: PathBuf,
    _folder: TempDir,
}

impl Operator {
    pub(crate) fn start(server: &ApiServer, name: &str, variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let http = free_port();
        let (kubeconfig, chart) = install(server, folder.path());
        let process = Command::new(env!("CARGO_BIN_EXE_operator"))
            .envs(chart)
            .env("KUBECONFIG", kubeconfig)
            .env("DRAGNET_IMAGE", "dragnet:test")
            .env("DRAGNET_WEBHOOK", "off")
            .env("POD_NAME", name)
            .env("POD_NAMESPACE", OWN)
            .env("DRAGNET_HTTP_LISTEN", format!("127.0.0.1:{http}"))
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self { process, http, log, _folder: folder }
    }

    /// Status and body of `GET path`; `None`: it does not answer.
    pub(crate) fn ask(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    pub(crate) fn leads(&self) -> bool {
        self.ask("/metrics").is_some_and(|(_, text)| text.contains("dragnet_operator_is_leader 1"))
    }

    pub(crate) fn wait_until_leading(&self) {
        self.eventually("the operator leads", || self.leads().then_some(()));
    }

    /// Waits for what `look` finds; a failure shows the log.
    pub(crate) fn eventually<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let found = eventually(what, Deadline::after(SOON), || Ok(look()));
        found.unwrap_or_else(|error| panic!("{error:#}; its log:\n{}", self.log()))
    }

    /// Tells it to stop, and waits until it did.
    pub(crate) fn stop(mut self) -> ExitStatus {
        let id = self.process.id().to_string();
        let told = Command::new("kill").args(["-TERM", &id]).status().unwrap();
        assert!(told.success());
        self.process.wait().unwrap()
    }

    /// Waits until it ends by itself.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let process = &mut self.process;
        eventually("the operator ends", Deadline::after(SOON), || Ok(process.try_wait()?)).unwrap()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Applies what the chart has on rights, and nothing of its pods. Returns a kubeconfig that may do just that, and the variables of
/// the operator's container.
fn install(server: &ApiServer, folder: &Path) -> (PathBuf, Vec<(String, String)>) {
    let kubectl = server.kubectl();
    let namespace = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {OWN}}}\n");
    kubectl.apply(&[namespace, rendered("serviceaccount"), rendered("rbac")].join("\n---\n")).unwrap();

    let as_json = kubectl.command(&["create", "--dry-run=client", "--output=json", "--filename=-"]);
    let deployment = testcluster::run(as_json, Some(&rendered("deployment"))).unwrap();
    let deployment: Value = serde_json::from_str(&deployment).unwrap();
    let pod = &deployment["spec"]["template"]["spec"];
    let account = pod["serviceAccountName"].as_str().unwrap();
    let user = format!("system:serviceaccount:{OWN}:{account}");
    let may = || kubectl.in_namespace(OWN).as_user(&user).run(&["auth", "can-i", "create", "leases"]);
    eventually("the API server knows its rights", Deadline::after(SOON), || Ok(may().ok())).unwrap();
    let token = kubectl.in_namespace(OWN).run(&["create", "token", account]).unwrap();
    let kubeconfig = folder.join("kubeconfig");
    std::fs::copy(server.kubeconfig(), &kubeconfig).unwrap();
    let ours = format!("--kubeconfig={}", kubeconfig.display());
    let credentials = format!("--token={}", token.trim_end());
    kubectl.run(&["config", &ours, "set-credentials", "operator", &credentials]).unwrap();
    kubectl.run(&["config", &ours, "set-context", "--current", "--user=operator"]).unwrap();

    let variable = |variable: &Value| {
        let text = |key: &str| variable[key].as_str().map(str::to_owned);
        Some((text("name")?, text("value")?))
    };
    let variables = pod["containers"][0]["env"].as_array().unwrap().iter().filter_map(variable).collect();
    (kubeconfig, variables)
}

/// What helm makes of a template of the chart.
fn rendered(template: &str) -> String {
    let place = Place::find().unwrap();
    let mut helm = Command::new(place.program("helm").expect("helm is built with the API server"));
    helm.args(["template", "dragnet", "--namespace", OWN, "--kube-version", "1.36.0", "--set", "logging.format=text"])
        .args(["--show-only", &format!("templates/{template}.yaml")])
        .arg(place.repository().join("charts/dragnet"))
        .env("KUBECONFIG", "/nonexistent");
    testcluster::run(helm, None).unwrap()
}

/// Installs the definitions, all or those of some kinds.
pub(crate) fn define(kubectl: &Kubectl) {
    for file in definitions() {
        kubectl.apply(&std::fs::read_to_string(file).unwrap()).unwrap();
    }
    kubectl.run(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"]).unwrap();
}

pub(crate) fn definitions() -> Vec<PathBuf> {
    let folder = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("../crds");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
