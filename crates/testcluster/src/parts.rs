//! Documents to apply, with what matters to a story or a measurement as arguments.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// The name of the Orchestrator in every story.
pub const CLUSTER: &str = "main";

/// As the quickstart names it; our own cluster gets our own build of it under this name.
pub const S3_IMAGE: &str = "ghcr.io/versity/versitygw:v1.8.0";
pub const S3_NAMESPACE: &str = "object-storage";
pub const S3_ACCESS: &str = "dragnet";
pub const S3_SECRET: &str = "a-secret-of-tests";

#[must_use]
pub fn restricted_namespace(name: &str) -> String {
    format!(
        "apiVersion: v1
kind: Namespace
metadata:
  name: {name}
  labels: {{pod-security.kubernetes.io/enforce: restricted, pod-security.kubernetes.io/enforce-version: latest}}
"
    )
}

/// One S3 server with the bucket `dragnet`, in a namespace of its own. The bucket is a folder below the server's, made by mounting.
#[must_use]
pub fn s3_server() -> String {
    let namespace = restricted_namespace(S3_NAMESPACE);
    format!(
        "{namespace}---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: s3, namespace: {S3_NAMESPACE}}}
spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 10Gi}}}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: s3, namespace: {S3_NAMESPACE}}}
spec: {{selector: {{app: s3}}, ports: [{{port: 7070}}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: s3, namespace: {S3_NAMESPACE}}}
spec:
  replicas: 1
  strategy: {{type: Recreate}}
  selector: {{matchLabels: {{app: s3}}}}
  template:
    metadata: {{labels: {{app: s3}}}}
    spec:
      securityContext: {{runAsNonRoot: true, runAsUser: 65532, fsGroup: 65532, seccompProfile: {{type: RuntimeDefault}}}}
      tolerations:
      - {{key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 5}}
      - {{key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 5}}
      containers:
      - name: s3
        image: {S3_IMAGE}
        command: [/usr/local/bin/versitygw, --port, ':7070', --access, {S3_ACCESS}, --secret, {S3_SECRET}, posix, /storage]
        ports: [{{containerPort: 7070}}]
        readinessProbe: {{tcpSocket: {{port: 7070}}, periodSeconds: 1}}
        securityContext: {{allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {{drop: [ALL]}}}}
        volumeMounts:
        - {{name: root, mountPath: /storage}}
        - {{name: bucket, mountPath: /storage/dragnet}}
        - {{name: tmp, mountPath: /tmp}}
      volumes:
      - {{name: root, emptyDir: {{}}}}
      - {{name: tmp, emptyDir: {{}}}}
      - {{name: bucket, persistentVolumeClaim: {{claimName: s3}}}}
"
    )
}

/// For the S3 server, in the namespace of whoever applies it.
#[must_use]
pub fn credentials() -> String {
    secret("s3")
}

/// The same, of this name.
#[must_use]
pub fn secret(name: &str) -> String {
    format!(
        "apiVersion: v1
kind: Secret
metadata: {{name: {name}}}
stringData: {{AWS_ACCESS_KEY_ID: {S3_ACCESS}, AWS_SECRET_ACCESS_KEY: {S3_SECRET}}}
"
    )
}

/// Where a story's objects are, as a flow mapping.
#[must_use]
pub fn storage(namespace: &str, folder: &str) -> String {
    format!("{{url: 's3://dragnet/{namespace}/{folder}', {}}}", way("s3"))
}

/// How to get to the S3 server with a Secret, as fields of a flow mapping.
#[must_use]
pub fn way(secret: &str) -> String {
    format!(
        "endpoint: 'http://s3.{S3_NAMESPACE}.svc:7070', region: us-east-1, allowHttp: true, credentialsSecret: {{name: {secret}}}"
    )
}

/// An Orchestrator whose lost pods are replaced in seconds; `more` are further fields of its spec.
#[must_use]
pub fn orchestrator(namespace: &str, replicas: u32, more: &str) -> String {
    let storage = storage(namespace, "cell");
    format!(
        "apiVersion: dragnet.dev/v1alpha1
kind: Orchestrator
metadata: {{name: {CLUSTER}}}
spec:
  replicas: {replicas}
  storage: {storage}
  sessionTtl: 5s
  resources: {{requests: {{cpu: 50m, memory: 64Mi}}, limits: {{memory: 512Mi}}}}
  volume: {{size: 1Gi}}
  pods: {PODS}
{more}"
    )
}

/// Overrides that let pods leave a lost node after seconds, as a flow mapping.
pub const PODS: &str = "{tolerations: [\
    {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 5}, \
    {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 5}]}";

#[must_use]
pub fn workers(replicas: u32) -> String {
    format!(
        "apiVersion: dragnet.dev/v1alpha1
kind: ScanWorker
metadata: {{name: {CLUSTER}}}
spec:
  replicas: {replicas}
  cores: 1
  drainTimeout: 10s
  resources: {{requests: {{cpu: 50m, memory: 64Mi}}, limits: {{cpu: '1'}}}}
  pods: {PODS}
"
    )
}

/// Into so many folders [`write_corpus`] puts files.
pub const FOLDERS: u32 = 8;

/// One Corpus for each folder of [`write_corpus`], so that there are as many segments at least, and work for several at a time.
#[must_use]
pub fn corpora(namespace: &str) -> String {
    let one = |number: u32| {
        format!(
            "apiVersion: dragnet.dev/v1alpha1
kind: Corpus
metadata: {{name: files-{number}}}
spec:
  url: 's3://dragnet/{namespace}/files/{number}'
  listingInterval: 5s
"
        )
    };
    (0..FOLDERS).map(one).collect::<Vec<_>>().join("---\n")
}

/// A ruleset of one source.
#[must_use]
pub fn ruleset(name: &str, rules: &str) -> String {
    let indented: String = rules.lines().flat_map(|line| ["      ", line, "\n"]).collect();
    format!(
        "apiVersion: dragnet.dev/v1alpha1
kind: YaraRuleset
metadata: {{name: {name}}}
spec:
  sources:
  - name: rules.yar
    inline: |
{indented}"
    )
}

/// Finds the marked files of [`write_corpus`].
pub const RULES: &str = "rule marked {
  strings: $mark = \"dragnet-e2e-mark\"
  condition: $mark
}";

/// `RULES` with one more rule, which finds every file.
pub const EDITED_RULES: &str = "rule marked {
  strings: $mark = \"dragnet-e2e-mark\"
  condition: $mark
}
rule numbered {
  strings: $number = /file number [0-9]+/
  condition: $number
}";

/// `count` files of some kilobytes each, every tenth with a mark: the same ones every time. Returns how many are marked.
///
/// # Errors
/// When a file cannot be written.
pub fn write_corpus(folder: &Path, count: u32, kilobytes: usize) -> Result<u32> {
    let mut marked = 0;
    for number in 0..count {
        let below = folder.join((number % FOLDERS).to_string());
        fs::create_dir_all(&below).with_context(|| format!("failed to create {}", below.display()))?;
        let mut text = format!("file number {number}\n");
        if number % 10 == 0 {
            text.push_str("dragnet-e2e-mark\n");
            marked += 1;
        }
        let line = format!("{number:08} lorem ipsum dolor sit amet, consectetur adipiscing elit\n");
        while text.len() < kilobytes * 1024 {
            text.push_str(&line);
        }
        let file = below.join(format!("{number:06}.txt"));
        fs::write(&file, text).with_context(|| format!("failed to write {}", file.display()))?;
    }
    Ok(marked)
}
